"""Tables of weights as arguments of compiled code, which reads and rounds single rows of them by their type.

numba compiles a pass once for each type of table: named tuples of arrays, in compiled code of pointers to them.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from torch import Tensor

from megalabel.kernels.core._cpu.pointers import by_type, pointer
from megalabel.kernels.rounding._cpu.row_codes import read8, read16, round8, round16
from megalabel.kernels.rounding._cpu.stochastic_rounding import raw


class Float32(NamedTuple):
    """Weights that the pass reads and writes as they are, by itself."""

    unused: int = 0


class BFloat16(NamedTuple):
    """Weights in bfloat16, with the seed and the number of their rounding, and the number of the first row."""

    codes: Any  # (n, D) uint16
    seed: np.uint64
    number: np.int64
    first: np.int64


class Float8(NamedTuple):
    """Weights in float8, with an exponent per row."""

    codes: Any  # (n, D) uint8
    exponents: Any  # (n,) int8
    seed: np.uint64
    number: np.int64
    first: np.int64


Stored: TypeAlias = Float32 | BFloat16 | Float8


def stored(codes: Tensor, exponents: Tensor | None, draw: tuple[int, int, int] = (0, 0, 0)) -> Stored:
    """A table with contiguous codes (n, D), and the random numbers with which its rows are rounded."""
    seed, number, first = np.uint64(draw[0] % 2**64), np.int64(draw[1]), np.int64(draw[2])
    if exponents is None:
        return BFloat16(raw(codes), seed, number, first)
    return Float8(raw(codes), exponents.numpy(), seed, number, first)


def stored_at(s):
    """In compiled code: the tuple with pointers in place of arrays."""
    raise NotImplementedError


def is_narrow(s):
    """In compiled code: whether rows have to be read as float32; known when the pass is compiled."""
    raise NotImplementedError


def read_row(s, row, n, out, to):
    """In compiled code: out[to], … ← the n weights of a row."""
    raise NotImplementedError


def round_row(s, row, n, values, at):
    """In compiled code: rounds values[at], … to the n weights of a row; their random numbers are the row's."""
    raise NotImplementedError


by_type(
    stored_at,
    {
        Float32: lambda s: s,
        BFloat16: lambda s: BFloat16(pointer(s.codes), s.seed, s.number, s.first),
        Float8: lambda s: Float8(pointer(s.codes), pointer(s.exponents), s.seed, s.number, s.first),
    },
)
by_type(is_narrow, {Float32: lambda s: False, BFloat16: lambda s: True, Float8: lambda s: True})


def _nothing(s, row, n, values, at):
    pass


def _read16(s, row, n, out, to):
    read16(s.codes, row * n, out, to, n)


def _read8(s, row, n, out, to):
    read8(s.codes, row * n, np.int64(s.exponents[row]), out, to, n)


def _round16(s, row, n, values, at):
    round16(values, at, s.codes, s.first + row, n, s.seed, s.number, row)


def _round8(s, row, n, values, at):
    round8(values, at, s.codes, s.exponents, s.first + row, n, s.seed, s.number, row)


by_type(read_row, {Float32: _nothing, BFloat16: _read16, Float8: _read8})
by_type(round_row, {Float32: _nothing, BFloat16: _round16, Float8: _round8})
