"""Pruning of a sparse layer's connections, and the initial weights of new ones; `regrow.py` chooses their inputs.

The strength of a connection of a group of labels is the root mean square of its weights over the group, which is
|w| if labels do not share inputs. Connections are pruned below a threshold, or the weakest share of the layer or
of each group is pruned: those strictly below the k-th smallest strength, so that ties with it are kept.

The plain versions (numpy) define the results; the numba versions in `_cpu/rewire.py` and `_cpu/regrow.py` make the
same decisions bit for bit, and allocate nothing of the weights' size but the result, one byte per slot.

Sources: pruning by magnitude over the whole layer, Sparse Evolutionary Training (Mocanu et al. 2018), as in
Schultheis & Babbar (ECML-PKDD 2023) and Spartex (Ullah et al., NeurIPS 2024); within each group, HASTE (2026).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.core.checks import diverged
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.random import stream_numbers
from megalabel.kernels.fan_in.connections import DRAWN, ENOUGH_WORK, START, group_keys, stream_start
from megalabel.kernels.fan_in.regrow import check_slots, check_step, in_place

Scope = Literal["layer", "group"]

_COMPILED = Operation(__package__, "rewire", enough_work=ENOUGH_WORK)


def weak(
    weight: Tensor,
    group: int,
    *,
    below: float | None = None,
    share: float | None = None,
    scope: Scope = "layer",
) -> Tensor:
    """The slots whose connections are pruned: (M, F) bool, on the device of the weights.

    Exactly one of `below` and `share` must be passed.

    Args:
        weight: (L, F) float32 or float64.
        group: G, labels that share one set of inputs; M = ceil(L / G), the last group may be smaller.
        below: prune slots weaker than this, 0 or more.
        share: prune slots strictly weaker than the k-th weakest, k = floor(share · M · F) counted from 1; none for
            k = 0. A share of 1 keeps the strongest slot.
        scope: with a share, whether k counts the slots of the whole layer or of each group (k = floor(share · F)).

    Raises:
        SettingError: arguments are out of range, or a weight is not finite because training has diverged.
    """
    _check_weight(weight, group)
    _check_cut(below, share, scope)
    host = weight.detach().cpu().numpy()
    out = torch.zeros(-(-len(host) // group), host.shape[1], dtype=torch.bool)
    of_group = scope == "group"
    k = 0 if share is None else _count(share, host.shape[1] if of_group else out.numel())
    fast = _COMPILED.for_work(host.size)
    if fast is not None:
        if share is not None and of_group:
            finite = fast.below_kth(host, group, k, out.numpy())
        else:
            bar = below if below is not None else fast.kth_smallest(host, group, k) if k else 0.0
            finite = fast.below(host, group, float(bar), out.numpy())
    else:
        strength = strengths(host, group)
        bars: np.ndarray | np.floating = np.float64(0.0 if below is None else below)
        if k and of_group:
            bars = np.sort(strength, axis=1)[:, k - 1, None]
        elif k:
            bars = np.sort(strength, axis=None)[k - 1]
        finite = bool(np.isfinite(strength).all())
        out.copy_(torch.from_numpy(strength < bars))
    if not finite:
        raise diverged("the head's weights")
    return out.to(weight.device)


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


def restart(
    weight: Tensor,
    slots: Tensor,
    group: int,
    *,
    start: Literal["zero", "uniform"] = "zero",
    seed: int,
    step: int,
    states: Sequence[Tensor] = (),
) -> None:
    """Initializes the weights and optimizer states of new connections in place; all others do not change.

    Args:
        weight: (L, F) float32 or float64.
        slots: (M, F) bool, the connections that are new.
        group: G, labels that share one set of inputs.
        start: "zero", or "uniform" for values between ±1/√F, as in a new layer.
        seed: any integer.
        step: 0 or more; each rewiring with the same seed needs another step.
        states: optimizer states, each of the weight's shape, that are set to 0 for new connections. Pass none to
            keep the states, as Spartex does.

    Raises:
        SettingError: arguments do not fit.
    """
    _check_weight(weight, group)
    check_slots(slots, (-(-weight.shape[0] // group), weight.shape[1]))
    check_step(step)
    if start not in ("zero", "uniform"):
        raise SettingError(
            f"start={start!r}", wanted='"zero" or "uniform"', next_step='leave it at "zero"', where="start"
        )
    for state in states:
        if state.shape != weight.shape:
            raise SettingError(
                f"a state {tuple(state.shape)} for weights {tuple(weight.shape)}",
                wanted="optimizer states of the weights' shape",
                next_step="pass rule.weight_state() of the rule that updates this head",
                where="states",
            )
    fresh = slots.cpu().numpy()
    for tensor in (weight, *states):
        with in_place(tensor) as array:
            if tensor is weight and start == "uniform":
                _scatter(array, fresh, group, stream_start(seed, step, START))
            else:
                _clear(array, fresh, group)


def _clear(array: np.ndarray, slots: np.ndarray, group: int) -> None:
    fast = _COMPILED.for_work(array.size)
    if fast is None:
        array[_of_labels(slots, group, len(array))] = 0
    else:
        fast.clear(array, slots, group)


def _scatter(array: np.ndarray, slots: np.ndarray, group: int, start: int) -> None:
    """Uniform random multiples of 2⁻²³ between ±1, times 1/√F."""
    bound = 1 / math.sqrt(array.shape[1])
    fast = DRAWN.for_work(array.size)
    if fast is not None:
        fast.scatter(array, slots, group, start, bound)
        return
    keys, fresh = group_keys(start, len(array)), _of_labels(slots, group, len(array))
    for slot in range(array.shape[1]):
        bits = stream_numbers(keys, slot) >> np.uint64(40)
        array[:, slot] = np.where(fresh[:, slot], (bits.astype(np.float64) * 2.0**-23 - 1) * bound, array[:, slot])


def _of_labels(slots: np.ndarray, group: int, n_labels: int) -> np.ndarray:
    return np.repeat(slots, group, axis=0)[:n_labels]


def _count(share: float, n: int) -> int:
    """floor(share · n) in decimal arithmetic: 0.29 · 100 gives 29, although the product of floats is below 29."""
    return math.floor(Fraction(repr(float(share))) * n)


def _check_weight(weight: Tensor, group: int) -> None:
    if weight.dim() != 2 or weight.numel() == 0 or weight.dtype not in (torch.float32, torch.float64):
        raise SettingError(
            f"weights {tuple(weight.shape)} of {weight.dtype}",
            wanted="(L, F) float32 or float64, with at least one label and one connection",
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
