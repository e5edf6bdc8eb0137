"""The gradients of one step, sorted by the rows that they touch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.candidates import TableGradient


@dataclass(frozen=True)
class RowGroups:
    """Blocks of all gradients, equal ranges together: what `row_step` reads for each row that it moves.

    Group i is rows starts[i] to ends[i] - 1; groups rise and do not overlap. Its members m are
    offsets[i]:offsets[i + 1], by place in the list of gradients, then by text. The gradient of row r is
    Σ_m cells[first[m] + r - starts[i]] · views[texts[m]].

    views (ΣB, D) and cells (ΣC,): those of all gradients, one after the other.
    starts (G,), ends (G,), offsets (G + 1,), texts (N,), first (N,): int64.
    """

    views: Tensor
    cells: Tensor
    starts: Tensor
    ends: Tensor
    offsets: Tensor
    texts: Tensor
    first: Tensor

    @classmethod
    def of(cls, gradients: list[TableGradient]) -> RowGroups:
        """Sorts N blocks; nothing depends on the height of the table.

        Raises:
            SettingError: no gradient, or blocks that overlap without being the same range.
        """
        if not gradients:
            raise SettingError(
                "a step without gradients",
                wanted="at least one TableGradient",
                next_step="step after candidate_bce, not before",
                where="gradients",
            )
        parts = [g.candidates for g in gradients]
        starts, ends = _joined([p.starts for p in parts]), _joined([p.ends for p in parts])
        texts, first, n_texts, n_cells = [], [], 0, 0
        for part in parts:
            of_block = torch.arange(n_texts, n_texts + part.batch, device=part.device)
            texts.append(of_block.repeat_interleave(part.texts.diff(), output_size=len(part)))
            first.append(part.cells[:-1] + n_cells)
            n_texts, n_cells = n_texts + part.batch, n_cells + part.n_cells
        n = len(starts)
        # No two keys are equal, so any sort keeps members of a group in order.
        bits = n.bit_length()
        keys = (starts << bits | torch.arange(n, device=starts.device)).sort().values
        order = keys & ((1 << bits) - 1)
        starts, ends = keys >> bits, ends[order]
        new = torch.ones(n, dtype=torch.bool, device=starts.device)
        new[1:] = starts[1:] != starts[:-1]
        if (torch.where(new[1:], starts[1:] < ends[:-1], ends[1:] != ends[:-1])).any():
            raise SettingError(
                "candidate blocks that overlap without being the same range",
                wanted="blocks that are children of one level's clusters, or all rows in every gradient",
                next_step="step once for each table, with the gradients of that table alone",
                where="gradients",
            )
        heads = new.nonzero()[:, 0]
        return cls(
            _joined([g.views for g in gradients]),
            _joined([g.cells for g in gradients]),
            starts[heads],
            ends[heads],
            torch.cat([heads, heads.new_full((1,), n)]),
            _joined(texts)[order],
            _joined(first)[order],
        )

    def __len__(self) -> int:
        return len(self.starts)

    def rows(self) -> Tensor:
        """(U,) int64: every row that occurs, rising."""
        lengths = self.ends - self.starts
        offset = self.starts - (lengths.cumsum(0) - lengths)
        rows = offset.repeat_interleave(lengths)
        return rows + torch.arange(len(rows), device=rows.device)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
