"""Which inputs each group of labels listens to: their type, their check, the first draw and who is listened to.

A layer of fixed fan-in has `inputs` (M, F): label l of group l // G reads the embedding at inputs[l // G], F
places of D. An index costs 1 byte up to D = 256, 2 up to 32,768 and 4 above.

Random numbers come from a counter-based hash of (seed, step, use, group, slot, try): there is no state to save,
and neither the order of the groups nor the number of threads matters.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.random import below, stream_keys, stream_numbers

# Streams of numbers that must not be the same: what a number is drawn for.
FIRST, REGROW, CANDIDATES, START = range(4)

# Draws that fall on an input in use are drawn again this often, then one of the free ones is counted out.
TRIES = 32

# From this many connections on, compiling (once) and running the numba version is faster than the plain one.
ENOUGH_WORK = 1 << 12
DRAWN = Operation(
    __package__, "regrow", enough_work=ENOUGH_WORK
)  # what is drawn at random, here and in `regrow.py`


def input_dtype(dim: int) -> torch.dtype:
    """The type of the input indices of a layer on D = `dim` inputs: uint8, int16 or int32, the smallest that fits.

    torch takes an index tensor of uint8 for a mask: widen it before indexing with it.
    """
    if dim < 1:
        raise SettingError(
            f"an embedding of width {dim}", wanted="1 or more", next_step="pass the encoder's width", where="dim"
        )
    if dim <= 256:
        return torch.uint8
    return torch.int16 if dim <= 32768 else torch.int32


def check_inputs(inputs: Tensor, dim: int, n_groups: int | None = None) -> None:
    """Refuses inputs that are no (M, F) of `input_dtype(dim)` with every index from 0 to dim − 1.

    One pass over M · F indices: for the start and for what was loaded, not for each step.

    Raises:
        SettingError: another shape or type, or an index out of range.
    """
    check_layout(inputs, dim, n_groups)
    low, high = (int(end) for end in torch.aminmax(inputs))
    if low < 0 or high >= dim:
        raise SettingError(
            f"input {low if low < 0 else high}",
            wanted=f"inputs from 0 to {dim - 1}",
            next_step="draw them with first_inputs, or load the weights of an encoder of this width",
            where="inputs",
        )


def check_layout(inputs: Tensor, dim: int, n_groups: int | None = None) -> None:
    """The part of `check_inputs` that looks at no index."""
    wanted = input_dtype(dim)
    good = inputs.dim() == 2 and inputs.numel() > 0 and inputs.dtype == wanted
    if not good or n_groups not in (None, inputs.shape[0]):
        raise SettingError(
            f"inputs {tuple(inputs.shape)} of {inputs.dtype}",
            wanted=f"({'M' if n_groups is None else n_groups}, F) of {wanted} for {dim} inputs, F at least 1",
            next_step="draw them with first_inputs",
            where="inputs",
        )


def first_inputs(n_groups: int, fan_in: int, dim: int, *, seed: int, distinct: bool = True) -> Tensor:
    """The inputs of a new layer, drawn uniformly: (n_groups, fan_in) of `input_dtype(dim)`.

    Args:
        n_groups: M, at least 1.
        fan_in: F, connections a label, at least 1.
        dim: D, how many inputs there are.
        seed: any integer; layers with one seed and shape are alike.
        distinct: no input twice within a group. False draws with replacement, as Spartex does.

    Raises:
        SettingError: numbers below 1, or a fan-in above `dim` with distinct inputs.
    """
    dtype = input_dtype(dim)
    if n_groups < 1 or fan_in < 1:
        raise SettingError(
            f"{n_groups} groups of {fan_in} connections",
            wanted="at least one of each",
            next_step="check the number of labels and fan_in",
            where="fan_in",
        )
    check_room(fan_in, dim, distinct)
    inputs = torch.zeros(n_groups, fan_in, dtype=dtype)
    start = stream_start(seed, 0, FIRST)
    fast = DRAWN.for_work(inputs.numel())
    if fast is not None:
        fast.first(inputs.numpy(), start, dim, distinct, TRIES)
        return inputs
    for group, key in enumerate(group_keys(start, n_groups)):
        used: set[int] = set()
        for slot in range(fan_in):
            used.add(new := draw(key, slot, used if distinct else set(), dim))
            inputs[group, slot] = new
    return inputs


def use(inputs: Tensor, dim: int) -> Tensor:
    """How many groups listen to each input, one that has it twice counting once: (dim,) int64 on the CPU."""
    check_inputs(inputs, dim)
    total = np.zeros(dim, dtype=np.int64)
    for part in inputs.split(max(1, (1 << 22) // inputs.shape[1])):
        ordered = np.sort(part.cpu().numpy(), axis=1)
        new = np.ones(ordered.shape, dtype=np.bool_)
        new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        total += np.bincount(ordered[new], minlength=dim)
    return torch.from_numpy(total)


def stream_start(seed: int, step: int, purpose: int) -> int:
    """What the keys of one use of random numbers are made from."""
    return int(stream_keys(seed, np.array([4 * step + purpose]))[0])


def group_keys(start: int, n: int) -> np.ndarray:
    """The key of each group's (or label's) stream of random numbers: (n,) uint64."""
    return stream_keys(start, np.arange(n))


def draw(key: np.uint64, slot: int, used: set[int], dim: int) -> int:
    """An input from 0 to dim − 1, uniform among those that are not in `used` (which must leave one)."""
    for number in range(TRIES):
        new = _number(key, slot, number, dim)
        if new not in used:
            return new
    free = [i for i in range(dim) if i not in used]
    return free[_number(key, slot, TRIES, len(free))]


def _number(key: np.uint64, slot: int, number: int, n: int) -> int:
    bits = stream_numbers(np.array([key]), slot * (TRIES + 1) + number)
    return int(below(bits >> np.uint64(32), np.array([n]))[0])


def check_room(fan_in: int, dim: int, distinct: bool) -> None:
    """Refuses a fan-in that does not fit into distinct inputs."""
    if distinct and fan_in > dim:
        raise SettingError(
            f"a fan-in of {fan_in} over {dim} inputs",
            wanted=f"at most {dim} distinct inputs",
            next_step="lower fan_in, take a dense head, or put a wider layer in front",
            where="fan_in",
        )
