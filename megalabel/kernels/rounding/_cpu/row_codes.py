"""The codes of a row of weights in a narrow type, for compiled code: read as float32, and rounded from it.

float32 numbers are read as their bits. A mantissa of 24 bits with its leading one is cut after its upper bits;
what is cut off, as 31 bits, is compared with the random bits. In float8 the stored number without its sign is
8 · (exponent field − 1) + the upper bits for normal numbers, and the upper bits for subnormal ones, so that a
carry moves into the exponent. Rows are pointers and where they begin; 32 columns are processed at a time, and
those of the rest one by one, so that nothing beyond a row is read or written.
"""

import numpy as np

from megalabel.kernels.core._cpu.pointers import called, inlined
from megalabel.kernels.core._cpu.streams import row_key
from megalabel.kernels.core._cpu.words import (
    below,
    in_all,
    larger,
    largest,
    load_words,
    scaled,
    smaller,
    store_low,
    words,
)

_LANES = 32
_INFINITE = 0x7F800000


@called
def read8(codes, at, exponent, out, to, n):
    """out[to], … ← n weights of float8 with codes[at], …, times 2^exponent."""
    lanes, one, whole = words(_LANES), words(1), n // _LANES * _LANES
    for j in range(0, whole, _LANES):
        store_low(out, to + j, _floats(load_words(codes, at + j, lanes), exponent))
    for j in range(whole, n):
        store_low(out, to + j, _floats(load_words(codes, at + j, one), exponent))


@called
def read16(codes, at, out, to, n):
    """out[to], … ← n weights of bfloat16 with codes[at], …."""
    lanes, one, whole = words(_LANES), words(1), n // _LANES * _LANES
    for j in range(0, whole, _LANES):
        store_low(out, to + j, load_words(codes, at + j, lanes) << in_all(16, lanes))
    for j in range(whole, n):
        store_low(out, to + j, load_words(codes, at + j, one) << in_all(16, one))


@called
def round8(values, at, codes, exponents, row, n, seed, number, place):
    """Rounds values[at], …, the n weights of row `row` of a table, to row `place` of codes and exponents."""
    to = place * n
    exponent = _exponent(values, at, n)
    if exponent == -1000:
        exponents[place] = 0
        for j in range(n):
            codes[to + j] = 0x7F
        return
    exponents[place] = exponent
    key = row_key(seed, row, number)
    low, high = np.uint32(key), np.uint32(key >> np.uint64(32))
    lanes, one, whole = words(_LANES), words(1), n // _LANES * _LANES
    for j in range(0, whole, _LANES):
        random = _random(low, high, in_all(j, lanes) + lanes)
        store_low(codes, to + j, _float8(load_words(values, at + j, lanes), exponent, random))
    for j in range(whole, n):
        random = _random(low, high, in_all(j, one))
        store_low(codes, to + j, _float8(load_words(values, at + j, one), exponent, random))


@called
def round16(values, at, codes, row, n, seed, number, place):
    """The same for bfloat16."""
    to = place * n
    key = row_key(seed, row, number)
    low, high = np.uint32(key), np.uint32(key >> np.uint64(32))
    lanes, one, whole = words(_LANES), words(1), n // _LANES * _LANES
    for j in range(0, whole, _LANES):
        random = _random(low, high, in_all(j, lanes) + lanes)
        store_low(codes, to + j, _bfloat16(load_words(values, at + j, lanes), random))
    for j in range(whole, n):
        random = _random(low, high, in_all(j, one))
        store_low(codes, to + j, _bfloat16(load_words(values, at + j, one), random))


@inlined
def _exponent(values, at, n):
    """The exponent of a row, −1000 if it has a number that is not finite."""
    lanes, one, whole = words(_LANES), words(1), n // _LANES * _LANES
    mask, most = in_all(0x7FFFFFFF, lanes), in_all(0, lanes)
    for j in range(0, whole, _LANES):
        most = larger(most, load_words(values, at + j, lanes) & mask)
    found = largest(most)
    for j in range(whole, n):
        found = max(found, largest(load_words(values, at + j, one) & in_all(0x7FFFFFFF, one)))
    if found >= _INFINITE:
        return -1000
    # 448 = 1.75 · 2⁸: the largest number fits as it is if its mantissa is at most 1.75
    exponent = (found >> 23) - 135 + (1 if (found & 0x7FFFFF) > 0x600000 else 0)
    return min(max(exponent, -100), 120)


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
