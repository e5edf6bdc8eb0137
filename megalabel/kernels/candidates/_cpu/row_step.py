"""Numba implementation of `candidates/row_step.py`: sums the gradient of a row in the L1 cache and applies it.

Only checked tensors may be passed. The touched rows are divided among torch's threads; each row is summed by one
thread in the order of its members, so that results do not depend on the number of threads. A narrow row is read as
float32, moved, and rounded back.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.candidates._cpu import whole_table
from megalabel.kernels.candidates.row_groups import RowGroups
from megalabel.kernels.core._cpu.compiling import compiled, vectorized
from megalabel.kernels.core._cpu.pointers import pointer
from megalabel.kernels.core._cpu.row_ranges import cut_rows
from megalabel.kernels.core.threads import run_ranges, thread_count
from megalabel.kernels.rounding._cpu.stored import (
    Float32,
    Stored,
    is_narrow,
    read_row,
    round_row,
    stored,
    stored_at,
)
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.kernels.updates._cpu.adam import AdamNumbers
from megalabel.kernels.updates._cpu.adam import adam as adam_of
from megalabel.kernels.updates._cpu.sgd import sgd as sgd_of
from megalabel.kernels.updates.adam import AdamSettings

_OWN_COST = 24  # the cost of a row's memory traffic, in units of adding the view of one member


class Groups(NamedTuple):
    """The touched rows and their gradients, as arrays; the groups are those of `RowGroups`."""

    before: np.ndarray  # (G + 1,), the number of touched rows before each group
    sums: np.ndarray  # (U, D), the gradients of all touched rows, or empty if they are yet to be summed
    bias_sums: np.ndarray  # (U,), likewise
    views: np.ndarray
    cells: np.ndarray
    starts: np.ndarray
    offsets: np.ndarray
    texts: np.ndarray
    first: np.ndarray


class Table(NamedTuple):
    """The parameters to update."""

    weight: np.ndarray  # (n, D); (0, D) for narrow weights
    bias: np.ndarray  # (n,), or empty
    stored: Stored  # the narrow weights, each row of which is read, moved and rounded


class Moments(NamedTuple):
    """The Adam state of a table; the arrays of the biases are empty if there are none."""

    mean: np.ndarray
    square: np.ndarray
    bias_mean: np.ndarray
    bias_square: np.ndarray
    steps: np.ndarray  # (n,) int32


def adam(
    weight: Tensor, bias: Tensor | None, state: dict[str, Tensor], groups: RowGroups, settings: AdamSettings
) -> None:
    """One step of lazy AdamW, in place."""
    none = weight.new_empty(0)
    of_bias = [none, none] if bias is None else [state["bias_mean"], state["bias_square"]]
    moments = Moments(*(t.numpy() for t in (state["mean"], state["square"], *of_bias, state["steps"])))
    numbers = np.array([settings.lr, *settings.betas, settings.eps, settings.keep])
    table, dealt, ranges = arrays_of(weight, bias, groups)
    run_ranges(lambda rows: _adam(rows.start, rows.stop, dealt, table, moments, numbers), ranges)


def sgd(
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    groups: RowGroups,
    lr: float,
    weight_decay: float,
    draw: Draw | None = None,
) -> None:
    """One step of SGD, in place; `draw` for a narrow table."""
    rate, keep = np.float32(lr), np.float32(1 - lr * weight_decay)
    table, dealt, ranges = arrays_of(weight, bias, groups, draw)
    run_ranges(lambda rows: _sgd(rows.start, rows.stop, dealt, table, rate, keep), ranges)


def arrays_of(
    weight: Tensor | NarrowTable, bias: Tensor | None, groups: RowGroups, draw: Draw | None = None
) -> tuple[Table, Groups, list[range]]:
    """The table, the groups, and the range of touched rows of each thread."""
    before, cuts = cut_rows(groups, _OWN_COST, thread_count(torch.device("cpu")))
    biases = (torch.empty(0) if bias is None else bias).numpy()
    if isinstance(weight, Tensor):
        table = Table(weight.numpy(), biases, Float32())
    else:
        assert draw is not None
        none = np.empty((0, weight.shape[1]), np.float32)
        table = Table(none, biases, stored(weight.codes, weight.exponents, draw))
    own = groups.views, groups.cells, groups.starts, groups.offsets, groups.texts, groups.first
    arrays = Groups(before, *(t.numpy() for t in (*whole_table.sums(groups), *own)))
    return table, arrays, [range(a, b) for a, b in pairwise(cuts)]


@vectorized
def sum_row(views, cells, texts, first, start, stop, row, out):
    """out (D,) ← gradient of row `row` of a group with members start … stop − 1; returns that of the bias."""
    dim = len(out)
    a, x = cells[first[start] + row], texts[start]
    total = a
    for d in range(dim):
        out[d] = a * views[x, d]
    m = start + 1
    while m + 4 <= stop:  # four at a time: one load and one store of out for four members
        a, b = cells[first[m] + row], cells[first[m + 1] + row]
        c, e = cells[first[m + 2] + row], cells[first[m + 3] + row]
        x, y, z, w = texts[m], texts[m + 1], texts[m + 2], texts[m + 3]
        for d in range(dim):
            out[d] += (a * views[x, d] + b * views[y, d]) + (c * views[z, d] + e * views[w, d])
        total += (a + b) + (c + e)
        m += 4
    while m < stop:
        a, x = cells[first[m] + row], texts[m]
        for d in range(dim):
            out[d] += a * views[x, d]
        total += a
        m += 1
    return total


@vectorized
def _move_row(w, mean, square, g, numbers, keep, rate, over_root):
    """AdamW on one row (D,)."""
    beta1, beta2, eps = numbers
    one = np.float32(1)
    own = AdamNumbers(one - beta1, beta2, one - beta2, eps, keep)
    for d in range(len(w)):
        mean[d], square[d], w[d] = adam_of(g[d], mean[d], square[d], w[d], own, rate, over_root)


@compiled
def _adam(low, high, groups, table, moments, numbers):
    """Updates touched rows low … high − 1; numbers: lr, β₁, β₂, eps and 1 − lr · decay in float64."""
    before, sums, bias_sums, views, cells, starts, offsets, texts, first = groups
    weight, bias, _ = table
    mean, square, bias_mean, bias_square, steps = moments
    lr, beta1, beta2 = numbers[0], numbers[1], numbers[2]
    own = np.float32(beta1), np.float32(beta2), np.float32(numbers[3])
    keep, one = np.float32(numbers[4]), np.float32(1)
    g, of_bias = np.empty(weight.shape[1], np.float32), np.empty(1, np.float32)
    known = np.int32(0)
    rate, over_root = np.float32(0), np.float32(0)
    group = np.searchsorted(before, low, side="right") - 1
    while group < len(starts) and before[group] < high:
        for i in range(max(low - before[group], 0), min(high, before[group + 1]) - before[group]):
            row = starts[group] + i
            if len(sums):
                g[:] = sums[i]
                of_bias[0] = bias_sums[i]
            else:
                of_bias[0] = sum_row(views, cells, texts, first, offsets[group], offsets[group + 1], i, g)
            steps[row] += 1
            if steps[row] != known:  # neighboring rows mostly agree, and powers are slow to compute
                known = steps[row]
                rate = np.float32(lr / (1.0 - beta1 ** np.float64(known)))
                over_root = np.float32(1.0 / np.sqrt(1.0 - beta2 ** np.float64(known)))
            _move_row(weight[row], mean[row], square[row], g, own, keep, rate, over_root)
            if len(bias):
                j = slice(row, row + 1)
                _move_row(bias[j], bias_mean[j], bias_square[j], of_bias, own, one, rate, over_root)
        group += 1


@vectorized
def _descend(w, g, rate, keep):
    for d in range(len(w)):
        w[d] = sgd_of(w[d], g[d], rate, keep)


@compiled
def _sgd(low, high, groups, table, rate, keep):
    """Updates touched rows low … high − 1; keep = 1 − lr · decay."""
    before, sums, bias_sums, views, cells, starts, offsets, texts, first = groups
    weight, bias, kept = table
    narrow, dim, kept = is_narrow(kept), views.shape[1], stored_at(kept)
    g, own = np.empty(dim, np.float32), np.empty(dim, np.float32)
    group = np.searchsorted(before, low, side="right") - 1
    while group < len(starts) and before[group] < high:
        for i in range(max(low - before[group], 0), min(high, before[group + 1]) - before[group]):
            row = starts[group] + i
            if len(sums):
                g[:] = sums[i]
                of_bias = bias_sums[i]
            else:
                of_bias = sum_row(views, cells, texts, first, offsets[group], offsets[group + 1], i, g)
            if narrow:
                read_row(kept, row, dim, pointer(own), 0)
                _descend(own, g, rate, keep)
                round_row(kept, row, dim, pointer(own), 0)
            else:
                _descend(weight[row], g, rate, keep)
            if len(bias):
                bias[row] = sgd_of(bias[row], of_bias, rate, np.float32(1))
        group += 1
