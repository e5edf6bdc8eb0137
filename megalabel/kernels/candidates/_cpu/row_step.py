"""Numba bodies of `candidates/row_step.py`: a row's gradient is summed in the first-level cache and spent at once.

They take checked tensors only. The touched rows are dealt out to torch's threads; a row's sum is taken by one
thread in the order of its members, so that results do not depend on how many threads there are.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.candidates._cpu import whole_table
from megalabel.kernels.candidates.row_groups import RowGroups
from megalabel.kernels.core._cpu.compiling import compiled, vectorised
from megalabel.kernels.core._cpu.row_ranges import cut_rows
from megalabel.kernels.core.threads import run_ranges, thread_count

_OWN_COST = 24  # a row's own memory traffic, in members: what adding up one member's view takes


def adam(
    weight: Tensor,
    bias: Tensor | None,
    state: dict[str, Tensor],
    groups: RowGroups,
    lr: float,
    betas: tuple[float, float],
    eps: float,
    weight_decay: float,
) -> None:
    """One step of lazy AdamW, in place."""
    none = weight.new_empty(0)
    moments = [state[name] for name in ("mean", "square")]
    moments += [none, none] if bias is None else [state["bias_mean"], state["bias_square"]]
    tensors = [weight, none if bias is None else bias, *moments, state["steps"]]
    arrays = [tensor.numpy() for tensor in tensors]
    numbers = np.array([lr, *betas, eps, 1 - lr * weight_decay])
    before, ranges = _deal(groups)
    shared = _shared(groups)
    run_ranges(lambda rows: _adam(rows.start, rows.stop, before, *shared, *arrays, numbers), ranges)


def sgd(weight: Tensor, bias: Tensor | None, groups: RowGroups, lr: float, weight_decay: float) -> None:
    """One step of SGD, in place."""
    arrays = weight.numpy(), (weight.new_empty(0) if bias is None else bias).numpy()
    rate, keep = np.float32(lr), np.float32(1 - lr * weight_decay)
    before, ranges = _deal(groups)
    shared = _shared(groups)
    run_ranges(lambda rows: _sgd(rows.start, rows.stop, before, *shared, *arrays, rate, keep), ranges)


def _deal(groups: RowGroups) -> tuple[np.ndarray, list[range]]:
    """How many touched rows lie before each group (G + 1,), and which of them belong to each thread."""
    before, cuts = cut_rows(groups, _OWN_COST, thread_count(torch.device("cpu")))
    return before, [range(a, b) for a, b in pairwise(cuts)]


def _shared(groups: RowGroups) -> tuple[np.ndarray, ...]:
    members = groups.offsets, groups.texts, groups.first
    return tuple(
        x.numpy() for x in (*whole_table.sums(groups), groups.views, groups.cells, groups.starts, *members)
    )


@vectorised
def _sum_row(views, cells, texts, first, start, stop, row, out):  # type: ignore[no-untyped-def]
    """out (D,) ← the gradient of row `row` of a group with members start … stop − 1; returns the bias's."""
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


@vectorised
def _move_row(w, mean, square, g, beta1, beta2, rate, root, eps, keep):  # type: ignore[no-untyped-def]
    """AdamW on one row (D,): rate = lr / (1 − β1ᵗ), root = 1 / √(1 − β2ᵗ), keep = 1 − lr · decay."""
    one = np.float32(1)
    for d in range(len(w)):
        m = mean[d] + (one - beta1) * (g[d] - mean[d])
        v = beta2 * square[d] + (one - beta2) * g[d] * g[d]
        mean[d] = m
        square[d] = v
        w[d] = keep * w[d] - rate * m / (np.sqrt(v) * root + eps)


@compiled
def _adam(  # type: ignore[no-untyped-def]
    low,
    high,
    before,
    sums,
    bias_sums,
    views,
    cells,
    starts,
    offsets,
    texts,
    first,
    weight,
    bias,
    mean,
    square,
    bias_mean,
    bias_square,
    steps,
    numbers,
):
    """Touched rows low … high − 1; sums: their gradients, or empty; numbers: lr, β1, β2, eps, 1 − lr · decay."""
    lr = numbers[0]
    beta1, beta2, eps = np.float32(numbers[1]), np.float32(numbers[2]), np.float32(numbers[3])
    keep = np.float32(numbers[4])
    g, of_bias = np.empty(weight.shape[1], np.float32), np.empty(1, np.float32)
    known = np.int32(0)
    rate, root = np.float32(0), np.float32(0)
    group = np.searchsorted(before, low, side="right") - 1
    while group < len(starts) and before[group] < high:
        for i in range(max(low - before[group], 0), min(high, before[group + 1]) - before[group]):
            row = starts[group] + i
            if len(sums):
                g[:] = sums[i]
                of_bias[0] = bias_sums[i]
            else:
                of_bias[0] = _sum_row(views, cells, texts, first, offsets[group], offsets[group + 1], i, g)
            steps[row] += 1
            if steps[row] != known:  # neighbours mostly agree, and powers are dear
                known = steps[row]
                rate = np.float32(lr / (1.0 - numbers[1] ** np.float64(known)))
                root = np.float32(1.0 / np.sqrt(1.0 - numbers[2] ** np.float64(known)))
            _move_row(weight[row], mean[row], square[row], g, beta1, beta2, rate, root, eps, keep)
            if len(bias):
                j = slice(row, row + 1)
                _move_row(
                    bias[j], bias_mean[j], bias_square[j], of_bias, beta1, beta2, rate, root, eps, np.float32(1)
                )
        group += 1


@vectorised
def _descend(w, g, rate, keep):  # type: ignore[no-untyped-def]
    for d in range(len(w)):
        w[d] = keep * w[d] - rate * g[d]


@compiled
def _sgd(  # type: ignore[no-untyped-def]
    low, high, before, sums, bias_sums, views, cells, starts, offsets, texts, first, weight, bias, rate, keep
):
    """Touched rows low … high − 1; keep = 1 − lr · decay."""
    g = np.empty(weight.shape[1], np.float32)
    group = np.searchsorted(before, low, side="right") - 1
    while group < len(starts) and before[group] < high:
        for i in range(max(low - before[group], 0), min(high, before[group + 1]) - before[group]):
            row = starts[group] + i
            if len(sums):
                g[:] = sums[i]
                of_bias = bias_sums[i]
            else:
                of_bias = _sum_row(views, cells, texts, first, offsets[group], offsets[group + 1], i, g)
            _descend(weight[row], g, rate, keep)
            if len(bias):
                bias[row] -= rate * of_bias
        group += 1
