"""Regrowth of pruned connections: at random, or at the inputs with the largest gradients.

Both keep all other connections of the layer, and exactly F per group. The plain versions below define the results;
they handle one group at a time with Python sets. The numba versions in `_cpu/regrow.py` return the same inputs.
Tensors on other devices are copied to the CPU, since a layer is rewired only once in hundreds of steps.

Sources: random regrowth, Sparse Evolutionary Training (Mocanu et al. 2018) and its layers of fixed fan-in
(Schultheis & Babbar, ECML-PKDD 2023); by gradient, RigL (Evci et al., ICML 2020), here on a sample of inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.core.checks import must_be_finite
from megalabel.kernels.fan_in.connections import (
    CANDIDATES,
    DRAWN,
    REGROW,
    TRIES,
    check_inputs,
    check_room,
    draw,
    group_keys,
    stream_start,
)


def regrow(
    inputs: Tensor,
    slots: Tensor,
    dim: int,
    *,
    seed: int,
    step: int,
    distinct: bool = True,
    first: int = 0,
) -> None:
    """Draws a new input for each weak slot uniformly, in place.

    Args:
        inputs: (M, F) of `input_dtype(dim)`; the slots that are kept do not change.
        slots: (M, F) bool, True where a connection is replaced.
        dim: D, the number of inputs.
        seed: any integer.
        step: 0 or more; each rewiring with the same seed needs another step.
        distinct: whether a new input must differ from the group's kept and already drawn inputs, and from the one
            that the slot had, unless no other is free. False draws from all D inputs, as Spartex does; the weights
            of duplicates add up.
        first: the number of the first of these groups in its layer, on which its new inputs depend.

    Raises:
        SettingError: inputs or slots do not fit, the step is below 0, or F > D although inputs are to be distinct.
    """
    check_inputs(inputs, dim)
    check_slots(slots, inputs.shape)
    check_step(step)
    check_room(inputs.shape[1], dim, distinct)
    start = stream_start(seed, step, REGROW)
    with in_place(inputs) as array:
        fast, weak = DRAWN.for_work(array.size), slots.cpu().numpy()
        if fast is None:
            _plain_regrow(array, weak, start, dim, distinct, first)
        else:
            fast.regrow(array, weak, start, dim, distinct, TRIES, first)


def candidates(
    inputs: Tensor, slots: Tensor, dim: int, count: int, *, seed: int, step: int, first: int = 0
) -> Tensor:
    """Candidate inputs of the groups that lose connections: (M, count), dtype and device as of `inputs`.

    They are distinct and drawn uniformly among the inputs that the group does not keep. If there are fewer of
    these than `count`, kept inputs follow, which `regrow_by` skips. Groups without weak slots get zeros. `first`
    is the number of the first of these groups in its layer.

    Raises:
        SettingError: inputs or slots do not fit, the step is below 0, or the count is outside 1 … D.
    """
    check_inputs(inputs, dim)
    check_slots(slots, inputs.shape)
    check_step(step)
    if not 1 <= count <= dim:
        raise SettingError(
            f"{count} candidates",
            wanted=f"from 1 to {dim}, the number of inputs",
            next_step="use about twice the fan-in",
            where="candidates",
        )
    start = stream_start(seed, step, CANDIDATES)
    array, weak = inputs.cpu().numpy(), slots.cpu().numpy()
    out = torch.zeros(len(array), count, dtype=inputs.dtype)
    fast = DRAWN.for_work(array.size)
    if fast is None:
        _plain_candidates(array, weak, start, dim, out.numpy(), first)
    else:
        fast.candidates(array, weak, start, dim, out.numpy(), TRIES, first)
    return out.to(inputs.device)


def regrow_by(inputs: Tensor, slots: Tensor, candidates: Tensor, strengths: Tensor) -> None:
    """Connects the weak slots of each group to its strongest candidates, in place.

    The first weak slot gets the strongest candidate, and so on; ties go to the lower position. A candidate is used
    once, and not at all if the group keeps it already. A slot for which no candidate is left keeps its input; if
    another slot has taken that one, it gets the first input that the group lost and no slot has taken.

    Args:
        inputs: (M, F).
        slots: (M, F) bool, True where a connection is replaced.
        candidates: (M, C), the result of `candidates` for these inputs and slots.
        strengths: (M, C) float32 or float64, the gradient norm of each candidate (`fixed_fan_in.fan_in_growth`).

    Raises:
        SettingError: shapes or dtypes do not fit, or strengths are not finite because training has diverged.
    """
    check_slots(slots, inputs.shape)
    wanted = (inputs.shape[0], candidates.shape[-1])
    fits = candidates.shape == wanted == strengths.shape and candidates.dtype == inputs.dtype
    if not fits or strengths.dtype not in (torch.float32, torch.float64) or wanted[1] == 0:
        raise SettingError(
            f"candidates {tuple(candidates.shape)} of {candidates.dtype} with strengths {tuple(strengths.shape)} "
            f"of {strengths.dtype}",
            wanted=f"both ({wanted[0]}, C), of {inputs.dtype} and of torch.float32 or torch.float64",
            next_step="compute them with candidates and fan_in_growth",
            where="candidates",
        )
    must_be_finite(strengths.detach(), "the gradient that new connections would have")
    weak, offered, worth = (x.detach().cpu().numpy() for x in (slots, candidates, strengths))
    with in_place(inputs) as array:
        fast = DRAWN.for_work(array.size)
        place = _plain_regrow_by if fast is None else fast.regrow_by
        place(array, weak, offered, worth)


def _plain_regrow(inputs: np.ndarray, slots: np.ndarray, start: int, dim: int, distinct: bool, first: int) -> None:
    keys = group_keys(start, len(inputs), first)
    for group in np.flatnonzero(slots.any(1)):
        used = set(inputs[group, ~slots[group]].tolist())
        for slot in np.flatnonzero(slots[group]).tolist():
            own = {int(inputs[group, slot])}
            if not distinct:
                avoid: set[int] = set()
            elif len(used | own) < dim:
                avoid = used | own
            else:
                avoid = used
            used.add(new := draw(keys[group], slot, avoid, dim))
            inputs[group, slot] = new


def _plain_candidates(
    inputs: np.ndarray, slots: np.ndarray, start: int, dim: int, out: np.ndarray, first: int
) -> None:
    keys = group_keys(start, len(inputs), first)
    for group in np.flatnonzero(slots.any(1)):
        kept = list(dict.fromkeys(inputs[group, ~slots[group]].tolist()))
        used = set(kept)
        row: list[int] = []
        while len(row) < out.shape[1] and len(used) < dim:
            row.append(draw(keys[group], len(row), used, dim))
            used.add(row[-1])
        out[group] = (row + kept)[: out.shape[1]]


def _plain_regrow_by(inputs: np.ndarray, slots: np.ndarray, offered: np.ndarray, worth: np.ndarray) -> None:
    for group in np.flatnonzero(slots.any(1)):
        lost = inputs[group, slots[group]].tolist()
        used = set(inputs[group, ~slots[group]].tolist())
        ranked = offered[group][np.argsort(-worth[group], kind="stable")].tolist()
        given = [c for c in dict.fromkeys(ranked) if c not in used][: len(lost)]
        used |= set(given)
        for own in lost[len(given) :]:
            left = [own, *lost]
            given.append(next((c for c in left if c not in used), own))
            used.add(given[-1])
        inputs[group, slots[group]] = given


@contextmanager
def in_place(tensor: Tensor) -> Iterator[np.ndarray]:
    """The tensor's memory as an array; for other devices, a CPU copy that is written back at the end."""
    host = tensor.detach().cpu()
    yield host.numpy()
    if host.data_ptr() != tensor.data_ptr():
        tensor.detach().copy_(host)


def check_slots(slots: Tensor, shape: torch.Size | tuple[int, int]) -> None:
    """Raises SettingError unless slots are (M, F) bool."""
    if slots.dtype != torch.bool or slots.shape != shape:
        raise SettingError(
            f"slots {tuple(slots.shape)} of {slots.dtype}",
            wanted=f"{tuple(shape)} of torch.bool, one slot per connection",
            next_step="compute them with weak from the weights of this layer",
            where="slots",
        )


def check_step(step: int) -> None:
    """Raises SettingError if the step is below 0."""
    if step < 0:
        raise SettingError(
            f"step {step}", wanted="0 or more", next_step="count optimizer steps from 0", where="step"
        )
