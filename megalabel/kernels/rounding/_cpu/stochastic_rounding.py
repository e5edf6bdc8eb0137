"""Numba implementation of `stochastic_rounding.py`, in integers: float32 numbers are read as their bits.

`sig` is a mantissa of 24 bits with its leading one, of which the last `drop` are cut off; those cut off, as 31
bits, are compared with the random bits. In float8 the stored number without its sign is then 8 · (exponent field −
1) + sig's upper bits for normal numbers and sig's upper bits for subnormal ones, and a carry moves into the exponent.
"""

import numba
import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.core._cpu.compiling import compiled
from megalabel.kernels.core._cpu.streams import row_bits, row_key
from megalabel.kernels.core.dtypes import WeightType

_inlined = numba.njit(inline="always")
_u32, _i32 = np.uint32, np.int32
_SIZE, _INFINITE = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000)
_FLOATS = torch.arange(256, dtype=torch.uint8).view(torch.float8_e4m3fn).float().numpy()


def store(
    values: Tensor,
    codes: Tensor,
    exponents: Tensor | None,
    kind: WeightType,
    draw: tuple[int, int],
    first_row: int,
) -> None:
    """See `stochastic_rounding.store_rows`."""
    bits, seed, number = values.detach().numpy().view(np.uint32), np.uint64(draw[0] % 2**64), np.int64(draw[1])
    if exponents is None:
        _store_bfloat16(bits, codes.detach().view(torch.int16).numpy().view(np.uint16), seed, number, first_row)
    else:
        raw = codes.detach().view(torch.uint8).numpy()
        _store_float8(bits, raw, exponents.numpy(), seed, number, first_row)


def load(codes: Tensor, exponents: Tensor, out: Tensor) -> None:
    """See `stochastic_rounding.load_rows`."""
    _load_float8(codes.detach().view(torch.uint8).numpy(), exponents.numpy(), _FLOATS, out.numpy())


@_inlined
def _float8(bits, exponent, random):
    """The code of one number, divided by 2^exponent."""
    size = _u32(bits & _SIZE)
    field = _i32(_i32(max(_u32(size >> _u32(23)), _u32(1))) - exponent)
    sig = _u32(_u32(size & _u32(0x7FFFFF)) | (_u32(0x800000) if size >= _u32(0x800000) else _u32(0)))
    drop = _i32(_i32(20) + max(_i32(121) - field, _i32(0)))
    cut = _u32(_u32(min(drop, _i32(31))) & _u32(31))
    upper = _u32(sig >> cut)
    rest = _u32(sig - _u32(upper << cut))
    left = _u32(_u32(_u32(31) - cut) & _u32(31))
    right = _u32(_u32(min(_i32(drop - _i32(cut)), _i32(31))) & _u32(31))
    rest = _u32(_u32(rest << left) >> right)
    up = _u32(1) if random < rest else _u32(0)
    normal = _u32(_u32(max(_i32(field - _i32(121)), _i32(0))) << _u32(3))
    return np.uint8(_u32(_u32(normal + upper + up) | _u32(_u32(bits >> _u32(24)) & _u32(0x80))))


@_inlined
def _bfloat16(bits, random):
    """The code of one number: the upper half of its bits, after random bits were added to the lower half."""
    size = _u32(bits & _SIZE)
    if size > _u32(0x7F7F0000):
        return np.uint16(0x7FC0) if size >= _INFINITE else np.uint16(_u32(_u32(bits >> _u32(16)) & _u32(0xFFFF)))
    return np.uint16(_u32(bits + _u32(_u32(0xFFFF) - _u32(random >> _u32(15)))) >> _u32(16))


@compiled
def _store_float8(bits, codes, exponents, seed, number, first_row):
    for i in range(bits.shape[0]):
        most = _u32(0)
        for j in range(bits.shape[1]):
            most = max(most, _u32(bits[i, j] & _SIZE))
        if most >= _INFINITE:
            exponents[i] = 0
            codes[i, :] = 0x7F
            continue
        # 448 = 1.75 · 2⁸: the largest number fits as it is if its mantissa is at most 1.75
        exponent = _i32(_i32(most >> _u32(23)) - 135 + (1 if _u32(most & _u32(0x7FFFFF)) > _u32(0x600000) else 0))
        exponent = _i32(min(max(exponent, -100), 120))
        exponents[i] = exponent
        key = row_key(seed, first_row + i, number)
        low, high = _u32(key), _u32(key >> np.uint64(32))
        for j in range(bits.shape[1]):
            codes[i, j] = _float8(bits[i, j], exponent, row_bits(low, high, j))


@compiled
def _store_bfloat16(bits, codes, seed, number, first_row):
    for i in range(bits.shape[0]):
        key = row_key(seed, first_row + i, number)
        low, high = _u32(key), _u32(key >> np.uint64(32))
        for j in range(bits.shape[1]):
            codes[i, j] = _bfloat16(bits[i, j], row_bits(low, high, j))


@compiled
def _load_float8(codes, exponents, floats, out):
    for i in range(codes.shape[0]):
        scale = np.float32(2.0 ** np.float64(exponents[i]))
        for j in range(codes.shape[1]):
            out[i, j] = floats[codes[i, j]] * scale
