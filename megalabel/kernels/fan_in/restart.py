"""The weights and the optimizer state of new connections of a sparse layer: zeros, or random numbers.

The plain versions (numpy) define the results; the numba versions in `_cpu/rewire.py` and `_cpu/regrow.py` write
the same numbers. Narrow weights become 0 in place; rows that get random numbers are read, changed and rounded.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.core.random import stream_numbers
from megalabel.kernels.fan_in.connections import DRAWN, START, group_keys, stream_start
from megalabel.kernels.fan_in.regrow import check_slots, check_step, in_place
from megalabel.kernels.fan_in.rewire import COMPILED, blocks_of, check_weight
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw, integers

_STREAM = 3 << 48  # of the random numbers that round new weights, beside those of `narrow_sgd_rule.py`


def restart(
    weight: Tensor | NarrowTable,
    slots: Tensor,
    group: int,
    *,
    start: Literal["zero", "uniform"] = "zero",
    seed: int,
    step: int,
    states: Sequence[Tensor] = (),
    first: int = 0,
) -> None:
    """Initializes the weights and optimizer states of new connections in place; all others do not change.

    Args:
        weight: (L, F) float32 or float64, or a narrow table; numbers that are not 0 are rounded stochastically to
            it, by random numbers that `seed` and `step` decide.
        slots: (M, F) bool, the connections that are new.
        group: G, labels that share one set of inputs.
        start: "zero", or "uniform" for values between ±1/√F, as in a new layer.
        seed: any integer.
        step: 0 or more; each rewiring with the same seed needs another step.
        states: optimizer states, each of the weight's shape and of any floating type, that are set to 0 for new
            connections. Pass none to keep the states, as Spartex does.
        first: the number of the first of these labels in its layer, on which random weights depend.

    Raises:
        SettingError: arguments do not fit.
    """
    check_weight(weight, group)
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
    for state in states:
        _zero(state, fresh, group)
    codes = weight.codes if isinstance(weight, NarrowTable) else weight
    if start == "zero":
        _zero(codes, fresh, group)
    elif isinstance(weight, NarrowTable):
        _scatter_narrow(
            weight, slots, group, stream_start(seed, step, START), Draw(seed + _STREAM, step, first), first
        )
    else:
        with in_place(weight) as array:
            _scatter(array, fresh, group, stream_start(seed, step, START), first)


def _zero(tensor: Tensor, slots: np.ndarray, group: int) -> None:
    """Sets numbers (L, F) of any floating type to 0; narrow ones as integers, as 0 has no bits in any type."""
    wide = tensor.dtype in (torch.float32, torch.float64)
    with in_place(tensor if wide else integers(tensor)) as array:
        fast = COMPILED.for_work(array.size)
        if fast is None:
            array[_of_labels(slots, group, len(array))] = 0
        else:
            fast.clear(array, slots, group)


def _scatter(array: np.ndarray, slots: np.ndarray, group: int, start: int, first: int = 0) -> None:
    """Uniform random multiples of 2⁻²³ between ±1, times 1/√F; `first` is the number of the first label."""
    bound = 1 / math.sqrt(array.shape[1])
    fast = DRAWN.for_work(array.size)
    if fast is not None:
        fast.scatter(array, slots, group, start, bound, first)
        return
    keys = group_keys(start, len(array), first)
    fresh = _of_labels(slots, group, len(array))
    for slot in range(array.shape[1]):
        bits = stream_numbers(keys, slot) >> np.uint64(40)
        array[:, slot] = np.where(fresh[:, slot], (bits.astype(np.float64) * 2.0**-23 - 1) * bound, array[:, slot])


def _scatter_narrow(table: NarrowTable, slots: Tensor, group: int, start: int, draw: Draw, number: int) -> None:
    for first, block in blocks_of(table, group):
        some = slots[first : first + -(-len(block) // group)]
        _scatter(block, some.cpu().numpy(), group, start, number + first * group)
        local = some.any(1).cpu().repeat_interleave(group)[: len(block)].nonzero()[:, 0]
        moved = torch.from_numpy(block)[local].to(table.device)
        table.store_rows((local + first * group).to(table.device), moved, draw)


def _of_labels(slots: np.ndarray, group: int, n_labels: int) -> np.ndarray:
    return np.repeat(slots, group, axis=0)[:n_labels]
