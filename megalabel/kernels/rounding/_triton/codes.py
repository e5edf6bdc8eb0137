"""Reading and rounding tiles of narrow weights for Triton: `rounding/stochastic_rounding.py` in integers.

BITS names the type: 32 for float32, 16 for bfloat16, read as int16, and 8 for float8 (E4M3), read as uint8. Types
are converted by integer operations, because compute capability 8.0 has no instructions for float8, and because
Triton's interpreter cannot multiply bfloat16.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def numbers(codes, BITS: tl.constexpr):
    """The float32 numbers that codes stand for, of float8 without the scale of their row."""
    if BITS == 32:
        found = codes
    elif BITS == 16:
        found = (codes.to(tl.uint16, bitcast=True).to(tl.uint32) << 16).to(tl.float32, bitcast=True)
    else:
        wide = codes.to(tl.uint32)
        size = wide & 0x7F
        normal = ((size << 20) + (120 << 23)).to(tl.float32, bitcast=True)
        found = tl.where(size < 8, size.to(tl.float32) * (1.0 / 512), normal)
        found = tl.where(size == 0x7F, float("nan"), found)
        found = tl.where(wide >= 0x80, -found, found)
    return found


@triton.jit
def power(exponent):
    """2ᵉ as float32 for exponents e from −126 to 127."""
    return ((exponent.to(tl.int32) + 127) << 23).to(tl.float32, bitcast=True)


@triton.jit
def row_exponent(most):
    """`row_exponents` of rows of float8 whose largest absolute number has the bits `most`; 0 if it is infinite."""
    # 448 = 1.75 · 2⁸: the largest number fits as it is if its mantissa is at most 1.75.
    exponent = (most >> 23) - 135 + ((most & 0x7FFFFF) > 0x600000).to(tl.int32)
    exponent = tl.minimum(tl.maximum(exponent, -100), 120)
    return tl.where(most >= 0x7F800000, 0, exponent)


@triton.jit
def float8(values, exponent, random):
    """The codes, uint8, of float32 values divided by 2^exponent, rounded by 31 random bits."""
    bits = values.to(tl.uint32, bitcast=True)
    size = bits & 0x7FFFFFFF
    field = (size >> 23).to(tl.int32)
    leading = tl.where(field < 1, 0, 1 << 23).to(tl.uint32)  # none in numbers that are subnormal in float32, or 0
    mantissa = (size & 0x7FFFFF) | leading
    field = tl.maximum(field, 1) - exponent
    drop = 20 + tl.maximum(121 - field, 0)
    cut = tl.minimum(drop, 31)
    upper = mantissa >> cut.to(tl.uint32)
    rest = (mantissa - (upper << cut.to(tl.uint32))) << (31 - cut).to(tl.uint32)
    rest = rest >> tl.minimum(drop - cut, 31).to(tl.uint32)
    normal = (tl.maximum(field - 121, 0) << 3).to(tl.uint32)
    code = normal + upper + (random < rest).to(tl.uint32)
    code = tl.where(code > 0x7E, 0x7E, code)  # the largest number
    return (code | ((bits >> 24) & 0x80)).to(tl.uint8)


@triton.jit
def bfloat16(values, random):
    """The codes, int16, of float32 values: the upper half of their bits after random bits are added to the lower.

    Numbers beyond the largest finite one become it, and what is not finite becomes NaN.
    """
    bits = values.to(tl.uint32, bitcast=True)
    size = bits & 0x7FFFFFFF
    added = tl.where(size < 0x7F7F0001, 0xFFFF - (random >> 15), 0).to(tl.uint32)
    nan = tl.where(size >= 0x7F800000, 1 << 6, 0).to(tl.uint32)
    return (((bits + added) >> 16) | nan).to(tl.uint16).to(tl.int16, bitcast=True)
