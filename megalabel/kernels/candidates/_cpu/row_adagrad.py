"""Numba implementation of `candidates/row_adagrad.py`: sums the gradient of a row in the L1 cache and applies it.

Only checked tensors may be passed. The touched rows are divided among threads as in `row_step.py`.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.candidates._cpu.row_step import arrays_of, sum_row
from megalabel.kernels.candidates.row_groups import RowGroups
from megalabel.kernels.core._cpu.compiling import compiled, vectorized
from megalabel.kernels.core._cpu.pointers import pointer
from megalabel.kernels.core.threads import run_ranges
from megalabel.kernels.rounding._cpu.stored import is_narrow, read_row, round_row, stored_at
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.kernels.updates._cpu.adagrad import adagrad_numbers, row_rate
from megalabel.kernels.updates._cpu.sgd import sgd as sgd_of
from megalabel.kernels.updates.adagrad import AdagradSettings


class Totals(NamedTuple):
    """The accumulators of a table; that of the biases is empty if there are none."""

    weight: np.ndarray  # (n,)
    bias: np.ndarray


def adagrad(
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    state: dict[str, Tensor],
    groups: RowGroups,
    settings: AdagradSettings,
    draw: Draw | None = None,
) -> None:
    """One step of row-wise Adagrad, in place; `draw` for a narrow table."""
    of_bias = torch.empty(0) if bias is None else state["bias_total"]
    totals, numbers = Totals(state["total"].numpy(), of_bias.numpy()), adagrad_numbers(settings)
    table, dealt, ranges = arrays_of(weight, bias, groups, draw)
    run_ranges(lambda rows: _adagrad(rows.start, rows.stop, dealt, table, totals, numbers), ranges)


@vectorized
def _move_row(w, g, totals, row, numbers, keep):
    """Adagrad on one row (D,)."""
    square = np.float32(0)
    for d in range(len(g)):
        square += g[d] * g[d]
    totals[row] += square / np.float32(len(g))
    rate = row_rate(totals[row], numbers)
    for d in range(len(w)):
        w[d] = sgd_of(w[d], g[d], rate, keep)


@compiled
def _adagrad(low, high, groups, table, totals, numbers):
    """Updates touched rows low … high − 1."""
    before, sums, bias_sums, views, cells, starts, offsets, texts, first = groups
    weight, bias, kept = table
    narrow, dim, kept = is_narrow(kept), views.shape[1], stored_at(kept)
    g, own, of_bias = np.empty(dim, np.float32), np.empty(dim, np.float32), np.empty(1, np.float32)
    group = np.searchsorted(before, low, side="right") - 1
    while group < len(starts) and before[group] < high:
        for i in range(max(low - before[group], 0), min(high, before[group + 1]) - before[group]):
            row = starts[group] + i
            if len(sums):
                g[:] = sums[i]
                of_bias[0] = bias_sums[i]
            else:
                of_bias[0] = sum_row(views, cells, texts, first, offsets[group], offsets[group + 1], i, g)
            if narrow:
                read_row(kept, row, dim, pointer(own), 0)
                _move_row(own, g, totals.weight, row, numbers, numbers.keep)
                round_row(kept, row, dim, pointer(own), 0)
            else:
                _move_row(weight[row], g, totals.weight, row, numbers, numbers.keep)
            if len(bias):
                _move_row(bias[row : row + 1], of_bias, totals.bias, row, numbers, np.float32(1))
        group += 1
