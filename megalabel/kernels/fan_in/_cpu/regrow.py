"""Numba implementation of the random operations of `connections.py`, `regrow.py` and `rewire.py`.

Only checked arrays may be passed: an index out of range would write outside of the arrays. Groups are distributed
over torch's threads; each random number depends on its position alone, so that results do not depend on the number
of threads. `tries` is `connections.TRIES`, passed as an argument because numba's disk cache would miss a change of
the constant.
"""

from __future__ import annotations

import numpy as np
import torch

from megalabel.kernels.core._cpu.compiling import compiled, helper
from megalabel.kernels.core._cpu.streams import below, stream_key, stream_number
from megalabel.kernels.core.threads import chunk_ranges, run_ranges, thread_count


def deal(n_groups: int) -> list[range]:
    """The groups of each thread."""
    return chunk_ranges(n_groups, 1, thread_count(torch.device("cpu")))


def first(inputs: np.ndarray, start: int, dim: int, distinct: bool, tries: int, number: int) -> None:
    """`connections.first_inputs`, written to inputs (M, F); `number` is that of the first group in its layer."""
    seed = np.uint64(start)
    run_ranges(
        lambda part: _first(part.start, part.stop, inputs, seed, dim, distinct, tries, number), deal(len(inputs))
    )


def regrow(
    inputs: np.ndarray, slots: np.ndarray, start: int, dim: int, distinct: bool, tries: int, number: int
) -> None:
    """`regrow.regrow`."""
    seed = np.uint64(start)
    run_ranges(
        lambda part: _regrow(part.start, part.stop, inputs, slots, seed, dim, distinct, tries, number),
        deal(len(inputs)),
    )


def candidates(
    inputs: np.ndarray, slots: np.ndarray, start: int, dim: int, out: np.ndarray, tries: int, number: int
) -> None:
    """`regrow.candidates`, written to out (M, C), which must be zeros."""
    seed = np.uint64(start)
    run_ranges(
        lambda part: _candidates(part.start, part.stop, inputs, slots, seed, dim, out, tries, number),
        deal(len(inputs)),
    )


def regrow_by(inputs: np.ndarray, slots: np.ndarray, offered: np.ndarray, strengths: np.ndarray) -> None:
    """`regrow.regrow_by`."""
    run_ranges(
        lambda part: _regrow_by(part.start, part.stop, inputs, slots, offered, strengths), deal(len(inputs))
    )


def scatter(weight: np.ndarray, slots: np.ndarray, group: int, start: int, bound: float, first: int) -> None:
    """Sets weight (L, F) to uniform random values between ±bound where slots (M, F) is True.

    first: the number in the layer of the first of these labels, which depends on nothing else.
    """
    seed, ranges = np.uint64(start), deal(len(slots))
    run_ranges(lambda part: _scatter(part.start, part.stop, weight, slots, group, seed, bound, first), ranges)


@helper
def _number(key, slot, number, n, tries):
    """`connections._number`: from 0 to n − 1."""
    return below(stream_number(key, slot * (tries + 1) + number) >> np.uint64(32), n)


@helper
def _draw(key, slot, marks, mark, free, dim, tries):
    """`connections.draw`: a random one of the `free` inputs whose mark is below `mark`."""
    for number in range(tries):
        new = _number(key, slot, number, dim, tries)
        if marks[new] < mark:
            return new
    left = _number(key, slot, tries, free, tries)
    for new in range(dim):
        if marks[new] < mark:
            if left == 0:
                return new
            left -= 1
    return 0  # not reached: callers leave a free input


@helper
def _any(row):
    for slot in row:
        if slot:
            return True
    return False


@compiled
def _first(low, high, inputs, seed, dim, distinct, tries, number):
    marks = np.full(dim, -1, np.int64)
    for group in range(low, high):
        key = stream_key(seed, number + group)
        for slot in range(inputs.shape[1]):
            free = dim - slot
            new = (
                _draw(key, slot, marks, group, free, dim, tries) if distinct else _number(key, slot, 0, dim, tries)
            )
            marks[new] = group
            inputs[group, slot] = new


@compiled
def _regrow(low, high, inputs, slots, seed, dim, distinct, tries, number):
    """marks[i] = group while input i is in use there."""
    marks = np.full(dim, -1, np.int64)
    for group in range(low, high):
        if not _any(slots[group]):
            continue
        key = stream_key(seed, number + group)
        free = dim
        for slot in range(inputs.shape[1]):
            old = np.int64(inputs[group, slot])
            if not slots[group, slot] and marks[old] != group:
                marks[old] = group
                free -= 1
        for slot in range(inputs.shape[1]):
            if not slots[group, slot]:
                continue
            if not distinct:
                inputs[group, slot] = _number(key, slot, 0, dim, tries)
                continue
            old = np.int64(inputs[group, slot])
            avoid = free > 1 and marks[old] != group
            if avoid:
                marks[old] = group
                free -= 1
            new = _draw(key, slot, marks, group, free, dim, tries)
            if avoid:
                marks[old] = -1
                free += 1
            marks[new] = group
            free -= 1
            inputs[group, slot] = new


@compiled
def _candidates(low, high, inputs, slots, seed, dim, out, tries, number):
    """marks[i] = 2 · group when input i is kept there, + 1 when it is a candidate."""
    marks = np.full(dim, -1, np.int64)
    for group in range(low, high):
        if not _any(slots[group]):
            continue
        key = stream_key(seed, number + group)
        mark = 2 * group
        free = dim
        for slot in range(inputs.shape[1]):
            old = np.int64(inputs[group, slot])
            if not slots[group, slot] and marks[old] < mark:
                marks[old] = mark
                free -= 1
        filled = 0
        while filled < out.shape[1] and free > 0:
            new = _draw(key, filled, marks, mark, free, dim, tries)
            marks[new] = mark + 1
            free -= 1
            out[group, filled] = new
            filled += 1
        for slot in range(inputs.shape[1]):
            old = np.int64(inputs[group, slot])
            if not slots[group, slot] and filled < out.shape[1] and marks[old] == mark:
                marks[old] = mark + 1
                out[group, filled] = old
                filled += 1


@helper
def _has(row, fixed, value):
    """Whether a fixed slot of the row has this input."""
    for slot in range(len(row)):
        if fixed[slot] and row[slot] == value:
            return True
    return False


@helper
def _strongest(usable, strengths):
    """The lowest position of the largest strength among the usable ones, or -1."""
    best = -1
    for place in range(len(usable)):
        if usable[place] and (best < 0 or strengths[place] > strengths[best]):
            best = place
    return best


@helper
def _lost(before, weak, row, fixed, own):
    """An input for a slot without a candidate: its own, or the first lost input that no slot has taken."""
    if _has(row, fixed, own):
        for slot in range(len(before)):
            if weak[slot] and not _has(row, fixed, before[slot]):
                return before[slot]
    return own


@compiled
def _regrow_by(low, high, inputs, slots, offered, strengths):
    usable = np.empty(offered.shape[1], np.bool_)
    fixed = np.empty(inputs.shape[1], np.bool_)
    before = inputs[0].copy()
    for group in range(low, high):
        weak, row = slots[group], inputs[group]
        if not _any(weak):
            continue
        before[:] = row
        fixed[:] = ~weak
        for place in range(len(usable)):
            usable[place] = not _has(row, fixed, offered[group, place])
        for slot in range(len(row)):
            if not weak[slot]:
                continue
            best = _strongest(usable, strengths[group])
            if best >= 0:
                row[slot] = offered[group, best]
                usable &= offered[group] != row[slot]
            else:
                row[slot] = _lost(before, weak, row, fixed, before[slot])
            fixed[slot] = True


@compiled
def _scatter(low, high, weight, slots, group, seed, bound, first):
    for label in range(low * group, min(high * group, len(weight))):
        row = slots[label // group]
        if not _any(row):
            continue
        key = stream_key(seed, first + label)
        for slot in range(len(row)):
            if row[slot]:
                share = np.float64(stream_number(key, slot) >> np.uint64(40)) * 2.0**-23 - 1.0
                weight[label, slot] = share * bound
