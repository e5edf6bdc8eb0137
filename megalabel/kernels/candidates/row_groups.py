"""The gradients of one step, sorted by the rows that they touch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.core.block_order import BlocksByRow


@dataclass(frozen=True)
class RowGroups(BlocksByRow):
    """The blocks of all gradients, grouped by ascending rows without overlap, as `row_step` reads them.

    The members of a group are ordered by their position in the list of gradients, then by text. The gradient of
    row r of group i is Σ_m cells[first[m] + r - starts[i]] · views[texts[m]] over the members m of the group.

    views (ΣB, D) and cells (ΣC,): those of all gradients, concatenated.
    """

    views: Tensor
    cells: Tensor

    @classmethod
    def from_gradients(cls, gradients: list[TableGradient]) -> RowGroups:
        """Sorts the blocks of all gradients; time and memory do not depend on the number of rows of the table.

        Raises:
            SettingError: there is no gradient, or blocks overlap without being the same range.
        """
        if not gradients:
            raise SettingError(
                "a step without gradients",
                wanted="at least one TableGradient",
                next_step="call candidate_bce before the step",
                where="gradients",
            )
        blocks = gradients[0].candidates.by_rows if len(gradients) == 1 else _joined_blocks(gradients)
        check_disjoint(blocks)
        return cls(
            blocks.starts,
            blocks.ends,
            blocks.offsets,
            blocks.texts,
            blocks.first,
            _joined([g.views for g in gradients]),
            _joined([g.cells for g in gradients]),
        )

    def sums(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients (U, D) and (U, 1) of the weights and biases of the U touched rows, `self.rows()`."""
        device = self.starts.device
        # Sizes are given where they are known, so that the host does not wait for a GPU.
        members, n = self.offsets.diff(), len(self.first)
        lengths = (self.ends - self.starts).repeat_interleave(members, output_size=n)
        total = int(lengths.sum())
        within = torch.arange(total, device=device)
        within -= (lengths.cumsum(0) - lengths).repeat_interleave(lengths, output_size=total)
        cells = self.cells[self.first.repeat_interleave(lengths, output_size=total) + within]
        starts = self.starts.repeat_interleave(members, output_size=n)
        places = torch.searchsorted(rows, starts.repeat_interleave(lengths, output_size=total) + within)
        texts = self.texts.repeat_interleave(lengths, output_size=total)
        of_weight = self.views.new_zeros(len(rows), self.views.shape[1])
        of_weight.index_add_(0, places, cells[:, None] * self.views[texts])
        return of_weight, self.views.new_zeros(len(rows), 1).index_add_(0, places, cells[:, None])


def check_disjoint(blocks: BlocksByRow) -> None:
    """Raises SettingError if blocks overlap without being the same range."""
    if (blocks.starts[1:] < blocks.ends[:-1]).any():
        raise SettingError(
            "candidate blocks that overlap without being the same range",
            wanted="blocks that are children of one level's clusters, or all rows in every gradient",
            next_step="make one step per table, with the gradients of that table only",
            where="gradients",
        )


def _joined_blocks(gradients: list[TableGradient]) -> BlocksByRow:
    parts, texts, first, n_texts, n_cells = [g.candidates for g in gradients], [], [], 0, 0
    for part in parts:
        texts.append(part.texts_of_blocks() + n_texts)
        first.append(part.cells[:-1] + n_cells)
        n_texts, n_cells = n_texts + part.batch, n_cells + part.n_cells
    starts, ends = torch.cat([p.starts for p in parts]), torch.cat([p.ends for p in parts])
    return BlocksByRow.from_blocks(starts, ends, torch.cat(texts), torch.cat(first))


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
