"""Comparisons of lanes as the bits of an integer, and the positions of these bits."""

from __future__ import annotations

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic

_WORD = ir.IntType(64)


@intrinsic
def bits_at_least(typing, a, b):
    """An integer whose bit i is set if lane i of |a| is not below that of b; NaN counts as not below."""

    def code(context, builder, sig, values):
        zero = ir.Constant(a.vector, None)
        negative = builder.fcmp_ordered("<", values[0], zero)
        size = builder.select(negative, builder.fsub(zero, values[0]), values[0])
        kept = builder.fcmp_unordered(">=", size, values[1])
        return builder.zext(builder.bitcast(kept, ir.IntType(a.width)), _WORD)

    return types.int64(a, a), code


@intrinsic
def lowest_bit(typing, bits):
    """The position of the lowest bit that is set; undefined for 0."""

    def code(context, builder, sig, values):
        return builder.cttz(values[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.int64), code
