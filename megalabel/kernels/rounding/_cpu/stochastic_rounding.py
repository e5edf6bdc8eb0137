"""Numba implementation of `stochastic_rounding.py`, in integers: float32 numbers are read as their bits.

A mantissa of 24 bits with its leading one is cut after its upper bits; what is cut off, as 31 bits, is compared
with the random bits. In float8 the stored number without its sign is 8 · (exponent field − 1) + the upper bits for
normal numbers, and the upper bits for subnormal ones, so that a carry moves into the exponent.
"""

import numba
import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.core._cpu.compiling import compiled
from megalabel.kernels.core._cpu.pointers import inlined, pointer
from megalabel.kernels.core._cpu.streams import row_key
from megalabel.kernels.core._cpu.words import (
    below,
    in_all,
    larger,
    load_words,
    scaled,
    smaller,
    store_low,
    words,
)
from megalabel.kernels.core.dtypes import WeightType

_LANES = 32
_SIZE, _INFINITE = np.uint32(0x7FFFFFFF), np.uint32(0x7F800000)


def store(
    values: Tensor,
    codes: Tensor,
    exponents: Tensor | None,
    kind: WeightType,
    draw: tuple[int, int],
    rows: np.ndarray,
    places: np.ndarray,
) -> None:
    """See `stochastic_rounding.store_rows`."""
    bits, seed, number = values.detach().numpy().view(np.uint32), np.uint64(draw[0] % 2**64), np.int64(draw[1])
    if exponents is None:
        _store_bfloat16(bits, codes.detach().view(torch.int16).numpy().view(np.uint16), seed, number, rows, places)
    else:
        raw = codes.detach().view(torch.uint8).numpy()
        _store_float8(bits, raw, exponents.numpy(), seed, number, rows, places)


def load(codes: Tensor, exponents: Tensor | None, out: Tensor, places: np.ndarray) -> None:
    """See `stochastic_rounding.load_rows`."""
    bits = out.numpy().view(np.uint32)
    if exponents is None:
        _load_bfloat16(codes.detach().view(torch.int16).numpy().view(np.uint16), bits, places)
    else:
        _load_float8(codes.detach().view(torch.uint8).numpy(), exponents.numpy(), bits, places)


@inlined
def _random(low, high, columns):
    """`random.row_bits` of some columns, for the halves of a key."""
    x = in_all(low, columns) + columns * in_all(0x9E3779B9, columns)
    x = (x ^ (x >> in_all(16, x))) * in_all(0x85EBCA6B, x) ^ in_all(high, x)
    x = (x ^ (x >> in_all(13, x))) * in_all(0xC2B2AE35, x)
    return (x ^ (x >> in_all(16, x))) >> in_all(1, x)


@inlined
def _float8(bits, exponent, random):
    """The codes of finite numbers, divided by 2^exponent."""
    one, last = in_all(1, bits), in_all(31, bits)
    size = bits & in_all(0x7FFFFFFF, bits)
    field = size >> in_all(23, bits)
    leading = smaller(field, one) << in_all(23, bits)  # none in a number that is subnormal in float32, or 0
    sig = (size & in_all(0x7FFFFF, bits)) | leading
    field = larger(field, one) - in_all(exponent, bits)
    drop = in_all(20, bits) + larger(in_all(121, bits) - field, in_all(0, bits))
    cut = smaller(drop, last)
    upper = sig >> cut
    rest = (sig - (upper << cut)) << (last - cut)
    rest = rest >> smaller(drop - cut, last)
    normal = larger(field - in_all(121, bits), in_all(0, bits)) << in_all(3, bits)
    return (normal + upper + below(random, rest)) | ((bits >> in_all(24, bits)) & in_all(0x80, bits))


@inlined
def _bfloat16(bits, random):
    """The codes of numbers: the upper half of their bits, after random bits were added to the lower half.

    Numbers beyond the largest finite one become it, and what is not finite becomes NaN.
    """
    size = bits & in_all(0x7FFFFFFF, bits)
    usual = below(size, in_all(0x7F7F0001, bits))
    added = (in_all(0xFFFF, bits) - (random >> in_all(15, bits))) * usual
    nan = below(in_all(0x7F7FFFFF, bits), size) << in_all(6, bits)
    return ((bits + added) >> in_all(16, bits)) | nan


@inlined
def _floats(codes, exponent):
    """The bits of the numbers that codes stand for, times 2^exponent: an integer times a power of two."""
    size = codes & in_all(0x7F, codes)
    field = size >> in_all(3, codes)
    leading = smaller(field, in_all(1, codes)) << in_all(3, codes)
    mantissa = (size & in_all(7, codes)) | leading
    power = larger(field, in_all(1, codes)) + in_all(exponent - 10 + 127, codes)
    found = scaled(mantissa, power << in_all(23, codes)) | ((codes & in_all(0x80, codes)) << in_all(24, codes))
    return found | (below(in_all(0x7E, codes), size) * in_all(0x7FC00000, codes))


@inlined
def _row8(bits, at, n, codes, to, exponent, low, high):
    columns = words(_LANES)
    for j in range(0, n, _LANES):
        number = in_all(j, columns) + columns
        store_low(codes, to + j, _float8(load_words(bits, at + j, columns), exponent, _random(low, high, number)))


@inlined
def _row16(bits, at, n, codes, to, low, high):
    columns = words(_LANES)
    for j in range(0, n, _LANES):
        number = in_all(j, columns) + columns
        store_low(codes, to + j, _bfloat16(load_words(bits, at + j, columns), _random(low, high, number)))


@numba.njit(nogil=True)
def _exponent(bits, i):
    """The exponent of a row, −1000 if it has a number that is not finite."""
    most = np.uint32(0)
    for j in range(bits.shape[1]):
        most = max(most, np.uint32(bits[i, j] & _SIZE))
    if most >= _INFINITE:
        return -1000
    # 448 = 1.75 · 2⁸: the largest number fits as it is if its mantissa is at most 1.75
    exponent = (
        np.int64(most >> np.uint32(23)) - 135 + (1 if np.uint32(most & np.uint32(0x7FFFFF)) > 0x600000 else 0)
    )
    return min(max(exponent, -100), 120)


@compiled
def _store_float8(bits, codes, exponents, seed, number, rows, places):
    n, whole = bits.shape[1], bits.shape[1] // _LANES * _LANES
    last_bits, last_codes = np.zeros(_LANES, np.uint32), np.zeros(_LANES, np.uint8)
    for i in range(bits.shape[0]):
        exponent, place = _exponent(bits, i), places[i]
        if exponent == -1000:
            exponents[place] = 0
            codes[place, :] = 0x7F
            continue
        exponents[place] = exponent
        key = row_key(seed, rows[i], number)
        low, high = np.uint32(key), np.uint32(key >> np.uint64(32))
        _row8(pointer(bits), i * n, whole, pointer(codes), place * n, exponent, low, high)
        if whole < n:
            last_bits[: n - whole] = bits[i, whole:]
            shifted = np.uint32(low + np.uint32(whole) * np.uint32(0x9E3779B9))  # the counter of the first column
            _row8(pointer(last_bits), 0, _LANES, pointer(last_codes), 0, exponent, shifted, high)
            codes[place, whole:] = last_codes[: n - whole]


@compiled
def _store_bfloat16(bits, codes, seed, number, rows, places):
    n, whole = bits.shape[1], bits.shape[1] // _LANES * _LANES
    last_bits, last_codes = np.zeros(_LANES, np.uint32), np.zeros(_LANES, np.uint16)
    for i in range(bits.shape[0]):
        place = places[i]
        key = row_key(seed, rows[i], number)
        low, high = np.uint32(key), np.uint32(key >> np.uint64(32))
        _row16(pointer(bits), i * n, whole, pointer(codes), place * n, low, high)
        if whole < n:
            last_bits[: n - whole] = bits[i, whole:]
            shifted = np.uint32(low + np.uint32(whole) * np.uint32(0x9E3779B9))
            _row16(pointer(last_bits), 0, _LANES, pointer(last_codes), 0, shifted, high)
            codes[place, whole:] = last_codes[: n - whole]


@compiled
def _load_float8(codes, exponents, out, places):
    n, whole, columns = codes.shape[1], codes.shape[1] // _LANES * _LANES, words(_LANES)
    last_codes, last = np.zeros(_LANES, np.uint8), np.zeros(_LANES, np.uint32)
    for i in range(len(places)):
        place = places[i]
        exponent = np.int64(exponents[place])
        for j in range(0, whole, _LANES):
            found = _floats(load_words(pointer(codes), place * n + j, columns), exponent)
            store_low(pointer(out), i * n + j, found)
        if whole < n:
            last_codes[: n - whole] = codes[place, whole:]
            store_low(pointer(last), 0, _floats(load_words(pointer(last_codes), 0, columns), exponent))
            out[i, whole:] = last[: n - whole]


@compiled
def _load_bfloat16(codes, out, places):
    for i in range(len(places)):
        place = places[i]
        for j in range(codes.shape[1]):
            out[i, j] = np.uint32(codes[place, j]) << np.uint32(16)
