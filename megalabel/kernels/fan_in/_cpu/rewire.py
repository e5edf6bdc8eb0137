"""Numba implementation of `rewire.py` except for random numbers: each pass recomputes strengths, none are stored.

Finite strengths (float32, sign 0) have the same order as their bits, so the k-th smallest is found with two
histograms, in `rewire.kth_by_bits`. They are integers, so that their sum does not depend on the number of threads.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable

import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled, helper
from megalabel.kernels.core.threads import run_ranges
from megalabel.kernels.fan_in._cpu.regrow import deal

_LOW_BITS = 15
_UPPER, _LOWER = 1 << 16, 1 << _LOW_BITS
_INFINITE = 0x7F800000  # the bits of inf; those of NaN are above


def counts(blocks: Callable[[], Iterable[np.ndarray]], group: int, at: int | None) -> np.ndarray:
    """A histogram of the strengths of the layer, as `rewire.kth_by_bits` takes it.

    blocks: the weights in parts of whole groups.
    """
    total = np.zeros(_UPPER if at is None else _LOWER, np.int64)
    for weight in blocks():
        if at is None:
            total += _counts(functools.partial(_count_upper_of, weight, group), weight, group, _UPPER)
        else:
            total += _counts(functools.partial(_count_lower_of, weight, group, at), weight, group, _LOWER)
    return total


def _count_upper_of(weight: np.ndarray, group: int, part: range, out: np.ndarray) -> None:
    _count_upper(part.start, part.stop, weight, group, out)


def _count_lower_of(weight: np.ndarray, group: int, at: int, part: range, out: np.ndarray) -> None:
    _count_lower(part.start, part.stop, weight, group, at, out)


def below(weight: np.ndarray, group: int, bar: float, out: np.ndarray) -> bool:
    """out (M, F) bool: strength < bar; False if any strength is not finite."""

    def part(groups: range) -> bool:
        finite = np.ones(1, dtype=np.bool_)
        _below(groups.start, groups.stop, weight, group, bar, out, finite)
        return bool(finite[0])

    return all(run_ranges(part, deal(len(out))))


def below_kth(weight: np.ndarray, group: int, k: int, out: np.ndarray) -> bool:
    """out (M, F) bool: strength below the k-th smallest of its own group; False if any is not finite."""

    def part(groups: range) -> bool:
        finite = np.ones(1, dtype=np.bool_)
        _below_kth(groups.start, groups.stop, weight, group, k, out, finite)
        return bool(finite[0])

    return all(run_ranges(part, deal(len(out))))


def clear(weight: np.ndarray, slots: np.ndarray, group: int) -> None:
    """Sets weight (L, F) to 0 where slots (M, F) is True."""
    run_ranges(lambda part: _clear(part.start, part.stop, weight, slots, group), deal(len(slots)))


def _counts(body: Callable[[range, np.ndarray], None], weight: np.ndarray, group: int, size: int) -> np.ndarray:
    def part(groups: range) -> np.ndarray:
        out = np.zeros(size, dtype=np.int64)
        body(groups, out)
        return out

    counts: np.ndarray = np.sum(run_ranges(part, deal(-(-len(weight) // group))), axis=0)
    return counts


@helper
def _strengths(weight, group, number, squares, out):
    """`rewire.strengths` of one group, written to out (F,) float32; squares (F,) float64 is scratch memory."""
    first, last = number * group, min(number * group + group, len(weight))
    if group == 1:
        for j in range(len(out)):
            out[j] = abs(weight[number, j])
        return
    squares[:] = 0
    for label in range(first, last):
        for j in range(len(out)):
            w = np.float64(weight[label, j])
            squares[j] += w * w
    for j in range(len(out)):
        out[j] = np.sqrt(squares[j] / np.float64(last - first))


@compiled
def _count_upper(low, high, weight, group, out):
    strengths = np.empty(weight.shape[1], np.float32)
    bits, squares = strengths.view(np.uint32), np.empty(weight.shape[1], np.float64)
    for number in range(low, high):
        _strengths(weight, group, number, squares, strengths)
        for j in range(len(bits)):
            out[(bits[j] & np.uint32(0x7FFFFFFF)) >> np.uint32(_LOW_BITS)] += 1


@compiled
def _count_lower(low, high, weight, group, at, out):
    strengths = np.empty(weight.shape[1], np.float32)
    bits, squares = strengths.view(np.uint32), np.empty(weight.shape[1], np.float64)
    wanted, lower = np.uint32(at), np.uint32(_LOWER - 1)
    for number in range(low, high):
        _strengths(weight, group, number, squares, strengths)
        for j in range(len(bits)):
            if (bits[j] & np.uint32(0x7FFFFFFF)) >> np.uint32(_LOW_BITS) == wanted:
                out[bits[j] & lower] += 1


@helper
def _finite(bits):
    bad = False
    for j in range(len(bits)):
        bad |= (bits[j] & np.uint32(0x7FFFFFFF)) >= np.uint32(_INFINITE)
    return not bad


@compiled
def _below(low, high, weight, group, bar, out, finite):
    strengths = np.empty(weight.shape[1], np.float32)
    bits, squares = strengths.view(np.uint32), np.empty(weight.shape[1], np.float64)
    for number in range(low, high):
        _strengths(weight, group, number, squares, strengths)
        finite[0] &= _finite(bits)
        for j in range(len(strengths)):
            out[number, j] = strengths[j] < bar


@compiled
def _below_kth(low, high, weight, group, k, out, finite):
    """Finds the bits of the k-th smallest strength bit by bit: the largest number with fewer than k below it."""
    strengths = np.empty(weight.shape[1], np.float32)
    bits, squares = strengths.view(np.uint32), np.empty(weight.shape[1], np.float64)
    for number in range(low, high):
        _strengths(weight, group, number, squares, strengths)
        finite[0] &= _finite(bits)
        bar = np.uint32(0)
        for shift in range(30, -1, -1):
            trial = np.uint32(bar | (np.uint32(1) << np.uint32(shift)))
            smaller = 0
            for j in range(len(bits)):
                smaller += bits[j] < trial
            if smaller < k:
                bar = trial
        for j in range(len(bits)):
            out[number, j] = bits[j] < bar


@compiled
def _clear(low, high, weight, slots, group):
    for label in range(low * group, min(high * group, len(weight))):
        row = slots[label // group]
        for slot in range(len(row)):
            if row[slot]:
                weight[label, slot] = 0
