"""Scores and steps of candidate rows in a narrow type.

On a CPU the compiled bodies of `candidate_scores.py`, `row_step.py` and `row_adagrad.py` read and round single
rows. In all other cases the rows that occur are read into a table (U, D) float32, and the candidates are
renumbered to it; the operations on float32 tables then do the rest: this is the definition. A step rounds its
result back to the rows, stochastically (`kernels/rounding/stochastic_rounding.py`), so that updates far below the
spacing of the type act in expectation. The random numbers of a row depend on its number in the whole table, the
seed and the number of the step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidate_scores import candidate_bce, reads_narrow
from megalabel.kernels.candidates.candidates import Candidates, TableGradient, positives_by_text
from megalabel.kernels.candidates.row_groups import RowGroups, check_disjoint
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.types import Positives

_ROWS = 1 << 12  # rows of a step that exist as float32 at a time


class RowBuffer:
    """Memory in which rows are read as float32, kept between steps: new memory takes longer than reading them."""

    def __init__(self) -> None:
        self._numbers = torch.empty(0)

    def of(self, n_rows: int, dim: int, device: torch.device) -> Tensor:
        """A tensor (n_rows, dim), valid until the next call."""
        if self._numbers.numel() < n_rows * dim or self._numbers.device != device:
            self._numbers = torch.empty(n_rows * dim, device=device)
        return self._numbers[: n_rows * dim].view(n_rows, dim)


def narrow_bce(
    views: Tensor,
    table: NarrowTable,
    bias: Tensor,
    candidates: Candidates,
    positives: Positives,
    scale: float,
    buffer: RowBuffer,
) -> tuple[Tensor, Tensor, TableGradient]:
    """`candidate_bce` of a narrow table (n, D) with a float32 bias (n,); other arguments and results are its."""
    positives_by_text(positives, candidates.batch, len(table.codes))  # checks them by the numbers of the table
    dim, device = table.shape[1], table.device
    if candidates.whole:
        weight = table.load(0, len(table.codes), buffer.of(len(table.codes), dim, device))
        return candidate_bce(views, weight, bias, candidates, positives, scale)
    check_rows(candidates, len(table.codes))
    if reads_narrow(table, bias, candidates):
        return candidate_bce(views, table, bias, candidates, positives, scale)
    rows, compact = renumbered(candidates)
    if not len(rows):
        rows = torch.zeros(1, dtype=torch.int64, device=table.device)
    places = torch.searchsorted(rows, positives.labels).clamp_(max=len(rows) - 1)
    known = rows[places] == positives.labels
    inside = positives.with_pairs(positives.rows[known], places[known])
    own = bias.detach()[rows]
    weight = table.load_rows(rows, buffer.of(len(rows), dim, device))
    value, logits, gradient = candidate_bce(views, weight, own, compact, inside, scale)
    gradient.candidates = candidates
    return value, logits, gradient


def renumbered(candidates: Candidates) -> tuple[Tensor, Candidates]:
    """The rows (U,) int64 that occur, ascending, and the candidates with numbers of places among these.

    Raises:
        SettingError: blocks overlap without being the same range.
    """
    blocks = candidates.by_rows
    check_disjoint(blocks)
    lengths = blocks.ends - blocks.starts
    before = lengths.cumsum(0) - lengths
    starts = before[torch.searchsorted(blocks.starts, candidates.starts)]
    ends = starts + (candidates.ends - candidates.starts)
    return blocks.rows(), Candidates(starts, ends, candidates.texts, candidates.cells)


def check_rows(candidates: Candidates, n_rows: int) -> None:
    """Raises SettingError unless all candidates are below n_rows."""
    if candidates.n_rows > n_rows:
        raise SettingError(
            f"a candidate row {candidates.n_rows - 1} for a table of {n_rows} rows",
            wanted="rows of the table",
            next_step="check that tree and tables belong together: one row per node of a level",
        )


def for_narrow(operation: Operation, table: NarrowTable, bias: Tensor | None) -> Any | None:
    """The compiled module that moves rows of a narrow table, or None."""
    packed = bias is None or bias.is_contiguous()
    return operation.for_device(table.device) if packed else None


def drawn(table: NarrowTable, draw: Draw | None) -> Draw:
    """The random numbers of a step of a narrow table; SettingError if there are none."""
    if draw is None:
        raise SettingError(
            f"a step of weights in {table.kind.name} without random numbers",
            wanted="a Draw, whose number differs in every step",
            next_step="pass draw=Draw(seed, step)",
            where="draw",
        )
    return draw


def on_rows(
    table: NarrowTable,
    beside: list[Tensor],
    groups: RowGroups,
    draw: Draw,
    step: Callable[[Tensor, list[Tensor], RowGroups], None],
) -> None:
    """Makes a step on the touched rows of a table as float32, and rounds them back; a part of the rows at a time.

    Args:
        table: the weights (n, D).
        beside: tensors (n,) that the step changes as well, such as biases and accumulators.
        groups: the gradients; at least one group.
        draw: the random numbers; a step needs others than the step before.
        step: called with weights (U, D), the rows (U,) of `beside`, and groups with numbers 0 to U - 1.

    """
    for part in _parts(groups):
        rows = part.rows()
        values, own = table.load_rows(rows), [t[rows] for t in beside]
        lengths = part.ends - part.starts
        ends = lengths.cumsum(0)
        step(values, own, replace(part, starts=ends - lengths, ends=ends))
        table.store_rows(rows, values, draw)
        for whole, moved in zip(beside, own, strict=True):
            whole[rows] = moved


def _parts(groups: RowGroups) -> list[RowGroups]:
    """The groups, cut into parts of about `_ROWS` rows."""
    numbers = (groups.ends - groups.starts).cumsum(0) // _ROWS
    cuts = [0, *((numbers.diff() > 0).nonzero()[:, 0] + 1).tolist(), len(groups)]
    if len(cuts) == 2:
        return [groups]
    return [_part(groups, low, high) for low, high in pairwise(cuts)]


def _part(groups: RowGroups, low: int, high: int) -> RowGroups:
    """Groups low to high - 1."""
    some, first, last = slice(low, high), int(groups.offsets[low]), int(groups.offsets[high])
    offsets, texts = groups.offsets[low : high + 1] - first, groups.texts[first:last]
    members = offsets, texts, groups.first[first:last]
    return RowGroups(groups.starts[some], groups.ends[some], *members, groups.views, groups.cells)
