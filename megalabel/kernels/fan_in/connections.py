"""The inputs to which each group of labels is connected: dtype, checks, initialization and usage counts.

A layer with fixed fan-in has `inputs` (M, F): label l of group l // G reads the F components inputs[l // G] of the
embedding (D,). An index takes 1 byte up to D = 256, 2 up to 32,768 and 4 above.

Random numbers come from a counter-based hash of (seed, step, purpose, group, slot, attempt): there is no state to
save, and results depend neither on the order of the groups nor on the number of threads.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.random import below, stream_keys, stream_numbers
from megalabel.storage.tables import new_table

# The purpose of a random number; each has its own stream.
FIRST, REGROW, CANDIDATES, START = range(4)

# An input that is in use is drawn again up to this many times; then one of the free inputs is drawn by rank.
TRIES = 32

# With at least this many connections, compiling (once) and running the numba version beats the plain version.
ENOUGH_WORK = 1 << 12
# The operations that draw random numbers, here and in `regrow.py`.
DRAWN = Operation(__package__, "regrow", enough_work=ENOUGH_WORK)


def input_dtype(dim: int) -> torch.dtype:
    """The dtype of the input indices of a layer with D = `dim` inputs: the smallest of uint8, int16 and int32.

    torch treats an index tensor of dtype uint8 as a mask: convert it to a wider dtype before indexing.
    """
    if dim < 1:
        raise SettingError(
            f"an embedding of width {dim}",
            wanted="1 or more",
            next_step="pass the output width of the encoder",
            where="dim",
        )
    if dim <= 256:
        return torch.uint8
    return torch.int16 if dim <= 32768 else torch.int32


def check_inputs(inputs: Tensor, dim: int, n_groups: int | None = None) -> None:
    """Checks that inputs are (M, F) of `input_dtype(dim)` and that every index is from 0 to dim − 1.

    Reads all M · F indices: meant for new and loaded layers, not for every step.

    Raises:
        SettingError: the shape or dtype differs, or an index is out of range.
    """
    check_layout(inputs, dim, n_groups)
    low, high = (int(end) for end in torch.aminmax(inputs))
    if low < 0 or high >= dim:
        raise SettingError(
            f"input {low if low < 0 else high}",
            wanted=f"inputs from 0 to {dim - 1}",
            next_step="create them with first_inputs, or load a layer that belongs to an encoder of this width",
            where="inputs",
        )


def check_layout(inputs: Tensor, dim: int, n_groups: int | None = None) -> None:
    """The part of `check_inputs` that reads no index: shape and dtype."""
    wanted = input_dtype(dim)
    good = inputs.dim() == 2 and inputs.numel() > 0 and inputs.dtype == wanted
    if not good or n_groups not in (None, inputs.shape[0]):
        raise SettingError(
            f"inputs {tuple(inputs.shape)} of {inputs.dtype}",
            wanted=f"({'M' if n_groups is None else n_groups}, F) of {wanted} for {dim} inputs, F at least 1",
            next_step="create them with first_inputs",
            where="inputs",
        )


def first_inputs(
    n_groups: int, fan_in: int, dim: int, *, seed: int, distinct: bool = True, first: int = 0
) -> Tensor:
    """The inputs of a new layer, drawn uniformly: (n_groups, fan_in) of `input_dtype(dim)`.

    Args:
        n_groups: M, at least 1.
        fan_in: F, connections per label, at least 1.
        dim: D, the number of inputs.
        seed: any integer; layers with the same seed and shape get the same inputs.
        distinct: whether the inputs of a group are distinct. False draws with replacement, as Spartex does.
        first: the number of the first of these groups in its layer, on which its inputs depend.

    Raises:
        SettingError: a number is below 1, or the fan-in is above `dim` although inputs are to be distinct.
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
    inputs = new_table((n_groups, fan_in), dtype)
    start = stream_start(seed, 0, FIRST)
    fast = DRAWN.for_work(inputs.numel())
    if fast is not None:
        fast.first(inputs.numpy(), start, dim, distinct, TRIES, first)
        return inputs
    for group, key in enumerate(group_keys(start, n_groups, first)):
        used: set[int] = set()
        for slot in range(fan_in):
            used.add(new := draw(key, slot, used if distinct else set(), dim))
            inputs[group, slot] = new
    return inputs


def use(inputs: Tensor, dim: int) -> Tensor:
    """The number of groups connected to each input, duplicates within a group counted once: (dim,) int64, CPU."""
    check_inputs(inputs, dim)
    total = np.zeros(dim, dtype=np.int64)
    for part in inputs.split(max(1, (1 << 22) // inputs.shape[1])):
        ordered = np.sort(part.cpu().numpy(), axis=1)
        new = np.ones(ordered.shape, dtype=np.bool_)
        new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
        total += np.bincount(ordered[new], minlength=dim)
    return torch.from_numpy(total)


def stream_start(seed: int, step: int, purpose: int) -> int:
    """The number from which the keys of one purpose's streams are derived."""
    return int(stream_keys(seed, np.array([4 * step + purpose]))[0])


def group_keys(start: int, n: int, first: int = 0) -> np.ndarray:
    """The keys of the random streams of n groups or labels from number `first` on: (n,) uint64."""
    return stream_keys(start, np.arange(first, first + n))


def draw(key: np.uint64, slot: int, used: set[int], dim: int) -> int:
    """A random input from 0 to dim − 1, uniform among those not in `used`; at least one must be free."""
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
    """Raises SettingError if there are fewer than `fan_in` distinct inputs."""
    if distinct and fan_in > dim:
        raise SettingError(
            f"a fan-in of {fan_in} over {dim} inputs",
            wanted=f"at most {dim} distinct inputs",
            next_step="lower fan_in, use a dense head, or put a wider projection before the layer",
            where="fan_in",
        )
