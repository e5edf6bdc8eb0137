"""Pruning of a sparse layer's connections; `regrow.py` chooses other inputs, and `restart.py` their weights.

The strength of a connection of a group of labels is the root mean square of its weights over the group, which is
|w| if labels do not share inputs. Connections are pruned below a threshold, or the weakest share of the layer or
of each group is pruned: those strictly below the k-th smallest strength, so that ties with it are kept.

The plain versions (numpy) define the results; the numba versions in `_cpu/rewire.py` make the same decisions bit
for bit, and allocate nothing of the weights' size but the result, one byte per slot. Narrow weights are read as
float32 some groups at a time.

Sources: pruning by magnitude over the whole layer, Sparse Evolutionary Training (Mocanu et al. 2018), as in
Schultheis & Babbar (ECML-PKDD 2023) and Spartex (Ullah et al., NeurIPS 2024); within each group, HASTE (2026).
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.core.checks import diverged
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.fan_in.connections import ENOUGH_WORK
from megalabel.kernels.rounding.narrow_table import NarrowTable

Scope = Literal["layer", "group"]
Sums = Callable[[Tensor], Tensor]  # sums integers over the processes of a job, which have other labels each

COMPILED = Operation(__package__, "rewire", enough_work=ENOUGH_WORK)
LOW_BITS = 15  # of the 31 bits of a strength, counted by the second histogram
_CONNECTIONS = 1 << 20  # connections of a narrow table that exist as float32 at a time


def weak(
    weight: Tensor | NarrowTable,
    group: int,
    *,
    below: float | None = None,
    share: float | None = None,
    scope: Scope = "layer",
    sums: Sums | None = None,
) -> Tensor:
    """The slots whose connections are pruned: (M, F) bool, on the device of the weights.

    Exactly one of `below` and `share` must be passed.

    Args:
        weight: (L, F) float32 or float64, or a narrow table, of which some rows at a time are read as float32.
        group: G, labels that share one set of inputs; M = ceil(L / G), the last group may be smaller.
        below: prune slots weaker than this, 0 or more.
        share: prune slots strictly weaker than the k-th weakest, k = floor(share · M · F) counted from 1; none for
            k = 0. A share of 1 keeps the strongest slot.
        scope: with a share, whether k counts the slots of the whole layer or of each group (k = floor(share · F)).
        sums: sums over the processes that hold the other labels of the layer; all of them must call this function.
            None where these are all labels. With it there may be no labels here.

    Raises:
        SettingError: arguments are out of range, or a weight is not finite because training has diverged.
    """
    check_weight(weight, group, empty=sums is not None)
    _check_cut(below, share, scope)
    n_labels, fan_in = weight.shape
    out = torch.zeros(-(-n_labels // group), fan_in, dtype=torch.bool)
    of_group = scope == "group"
    total = out.numel() if sums is None else int(sums(torch.tensor(out.numel())))
    k = 0 if share is None else _count(share, fan_in if of_group else total)
    fast = COMPILED.for_work(n_labels * fan_in)
    blocks = functools.partial(blocks_of, weight, group)
    bar = below
    if bar is None:
        bar = _kth_of_layer(blocks, group, k, fast, sums) if k and not of_group else 0.0
    finite = True
    for first, block in blocks():
        some = out[first : first + -(-len(block) // group)]
        if fast is None:
            finite &= _plain_weak(block, group, bar, k if of_group else 0, some)
        elif share is not None and of_group:
            finite &= fast.below_kth(block, group, k, some.numpy())
        else:
            finite &= fast.below(block, group, bar, some.numpy())
    if not finite:
        raise diverged("the head's weights")
    return out.to(weight.device)


def _plain_weak(weight: np.ndarray, group: int, bar: float, k: int, out: Tensor) -> bool:
    """out (M, F) bool: strength below the bar or, for k > 0, the k-th smallest of its group; False if any is not
    finite.
    """
    strength = strengths(weight, group)
    bars = np.sort(strength, axis=1)[:, k - 1, None] if k else np.float64(bar)
    out.copy_(torch.from_numpy(strength < bars))
    return bool(np.isfinite(strength).all())


def blocks_of(weight: Tensor | NarrowTable, group: int) -> Iterator[tuple[int, np.ndarray]]:
    """The weights on the host, as (number of the first group, weights of some groups); narrow ones as float32."""
    if not weight.shape[0]:
        return
    if isinstance(weight, Tensor):
        yield 0, weight.detach().cpu().numpy()
        return
    n_labels, fan_in = weight.shape
    groups = max(1, _CONNECTIONS // (group * fan_in))
    for first in range(0, -(-n_labels // group), groups):
        yield first, weight.load(first * group, min((first + groups) * group, n_labels)).cpu().numpy()


def _kth_of_layer(
    blocks: Callable[[], Iterator[tuple[int, np.ndarray]]], group: int, k: int, fast: Any, sums: Sums | None
) -> float:
    """The k-th smallest strength of the whole layer, k counted from 1."""
    if fast is not None:
        return kth_by_bits(functools.partial(fast.counts, lambda: (w for _, w in blocks()), group), k, sums)
    if sums is not None:
        return kth_by_bits(functools.partial(_plain_counts, blocks, group), k, sums)
    return float(np.sort(np.concatenate([strengths(block, group) for _, block in blocks()]), axis=None)[k - 1])


def kth_by_bits(counts: Callable[[int | None], np.ndarray], k: int, sums: Sums | None) -> float:
    """The k-th smallest of finite numbers of 0 or more, whose order is that of their bits, by two histograms.

    counts: how many numbers have each of the upper 16 of 31 bits, (2¹⁶,) int64; and for an argument, how many of
        those with these upper bits have each of the lower 15 bits, (2¹⁵,) int64.
    """

    def of_all(at: int | None) -> np.ndarray:
        found = torch.from_numpy(counts(at))
        return (found if sums is None else sums(found)).numpy()

    upper = of_all(None)
    ends = np.cumsum(upper)
    at = int(np.searchsorted(ends, k))
    k -= int(ends[at] - upper[at])
    bits = (at << LOW_BITS) + int(np.searchsorted(np.cumsum(of_all(at)), k))
    return float(np.array([bits], dtype=np.uint32).view(np.float32)[0])


def _plain_counts(
    blocks: Callable[[], Iterator[tuple[int, np.ndarray]]], group: int, at: int | None
) -> np.ndarray:
    """See `kth_by_bits`."""
    size = 1 << (16 if at is None else LOW_BITS)
    total = np.zeros(size, np.int64)
    for _, block in blocks():
        bits = strengths(block, group).view(np.uint32).ravel() & np.uint32(0x7FFFFFFF)
        high = (bits >> np.uint32(LOW_BITS)).astype(np.int64)
        low = (bits & np.uint32((1 << LOW_BITS) - 1)).astype(np.int64)
        total += np.bincount(high if at is None else low[high == at], minlength=size)
    return total


def strengths(weight: np.ndarray, group: int) -> np.ndarray:
    """The strength of each connection: (M, F) float32, from float64 sums over the labels of a group in order."""
    if group == 1:
        sizes: np.ndarray = np.abs(weight).astype(np.float32)
        return sizes
    squares = np.zeros((-(-len(weight) // group), weight.shape[1]))
    counts = np.zeros((len(squares), 1))
    for member in range(min(group, len(weight))):
        rows = weight[member::group].astype(np.float64)
        squares[: len(rows)] += rows * rows
        counts[: len(rows)] += 1
    return np.sqrt(squares / counts).astype(np.float32)


def _count(share: float, n: int) -> int:
    """floor(share · n) in decimal arithmetic: 0.29 · 100 gives 29, although the product of floats is below 29."""
    return math.floor(Fraction(repr(float(share))) * n)


def check_weight(weight: Tensor | NarrowTable, group: int, *, empty: bool = False) -> None:
    """Raises SettingError unless weights are (L, F) of a type that can be rewired, and not empty or may be."""
    narrow, dtype = (True, weight.kind.dtype) if isinstance(weight, NarrowTable) else (False, weight.dtype)
    known = narrow or dtype in (torch.float32, torch.float64)
    if len(weight.shape) != 2 or (0 in weight.shape and not empty) or not known:
        raise SettingError(
            f"weights {tuple(weight.shape)} of {dtype}",
            wanted="(L, F) float32 or float64 or a narrow table, with at least one label and one connection",
            next_step="pass the weights of a sparse head",
            where="weight",
        )
    if group < 1:
        raise SettingError(f"groups of {group} labels", wanted="1 or more", next_step="pass 1", where="group")


def _check_cut(below: float | None, share: float | None, scope: str) -> None:
    if (below is None) == (share is None):
        raise SettingError(
            f"below={below} and share={share}",
            wanted="exactly one of the two",
            next_step="pass below (a threshold of the strength) or share (a fraction of the slots)",
            where="below",
        )
    if below is not None and not 0 <= below < math.inf:
        raise SettingError(
            f"below={below}", wanted="a finite number of 0 or more", next_step="pass e.g. 0.01", where="below"
        )
    if share is not None and not 0 <= share <= 1:
        raise SettingError(f"share={share}", wanted="from 0 to 1", next_step="pass e.g. 0.15", where="share")
    if scope not in ("layer", "group"):
        raise SettingError(
            f"scope={scope!r}", wanted='"layer" or "group"', next_step='leave it at "layer"', where="scope"
        )
