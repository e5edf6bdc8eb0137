"""Vectors of float32 numbers in registers, for numba loops that the compiler does not vectorize well.

`zeros(n)` creates a vector of n lanes, `load` and `store` move it, and + − · ÷ are elementwise. LLVM splits a
vector into the registers of the processor: 64 lanes are four registers of AVX-512 and sixteen of NEON. Products
and sums may be fused; sums are not reordered except in `total` and `four_totals`, whose order is fixed as well.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload, register_model

from megalabel.kernels.core._cpu.pointers import place

_FLOAT = ir.FloatType()
_FUSED = ("contract", "nsz")


class Lanes(types.Type):
    """The numba type of a vector of `width` numbers."""

    def __init__(self, width: int) -> None:
        super().__init__(name=f"Lanes({width})")
        self.width = width

    @property
    def vector(self) -> ir.VectorType:
        """The LLVM type of the vector."""
        return ir.VectorType(_FLOAT, self.width)

    @property
    def bits(self) -> ir.VectorType:
        """The LLVM type of its bits, as int32."""
        return ir.VectorType(ir.IntType(32), self.width)


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Lanes) -> None:
        super().__init__(manager, kind, kind.vector)


@intrinsic(prefer_literal=True)
def zeros(typing, width):
    """A vector of n zeros; n must be a constant."""
    kind = Lanes(width.literal_value)
    return kind(width), lambda context, builder, sig, values: ir.Constant(kind.vector, None)


@intrinsic
def all_of(typing, number, like):
    """A vector with `number` in every lane, as wide as `like`."""

    def code(context, builder, sig, values):
        number = context.cast(builder, values[0], sig.args[0], types.float32)
        none = ir.Constant(like.vector, ir.Undefined)
        first = builder.insert_element(none, number, ir.Constant(ir.IntType(32), 0))
        return builder.shuffle_vector(first, none, ir.Constant(like.bits, None))

    return like(number, like), code


@intrinsic
def load(typing, data, at, like):
    """The vector data[at], data[at + 1], …, as wide as `like`."""

    def code(context, builder, sig, values):
        at = builder.bitcast(place(context, builder, sig, values), like.vector.as_pointer())
        return builder.load(at, align=4)

    return like(data, at, like), code


@intrinsic
def store(typing, data, at, lanes):
    """data[at], data[at + 1], … ← lanes."""

    def code(context, builder, sig, values):
        at = builder.bitcast(place(context, builder, sig, values), lanes.vector.as_pointer())
        builder.store(values[2], at, align=4)
        return context.get_dummy_value()

    return types.void(data, at, lanes), code


def _each(symbol: Callable[..., Any], emit: Callable[[ir.IRBuilder, Any, Any], Any]) -> None:
    """Defines the operator `symbol` elementwise."""

    @intrinsic
    def work(typing, a, b):
        return a(a, b), lambda context, builder, sig, values: emit(builder, *values)

    @overload(symbol)
    def on_lanes(a, b):
        if isinstance(a, Lanes) and a == b:
            return lambda a, b: work(a, b)
        return None


_each(operator.add, lambda builder, a, b: builder.fadd(a, b, flags=_FUSED))
_each(operator.sub, lambda builder, a, b: builder.fsub(a, b, flags=_FUSED))
_each(operator.mul, lambda builder, a, b: builder.fmul(a, b, flags=_FUSED))
_each(operator.truediv, lambda builder, a, b: builder.fdiv(a, b))


@intrinsic
def where_below(typing, a, b, then, otherwise):
    """Elementwise `then` if a < b, else `otherwise`; comparisons with NaN are false."""

    def code(context, builder, sig, values):
        return builder.select(builder.fcmp_ordered("<", values[0], values[1]), values[2], values[3])

    return a(a, a, a, a), code


@intrinsic
def all_zero(typing, a):
    """Whether every lane is 0; false for NaN."""

    def code(context, builder, sig, values):
        unequal = builder.fcmp_unordered("!=", values[0], ir.Constant(a.vector, None))
        bits = builder.bitcast(unequal, ir.IntType(a.width))
        return builder.icmp_unsigned("==", bits, ir.Constant(bits.type, 0))

    return types.boolean(a), code


@intrinsic
def total(typing, a):
    """The sum of the lanes, in an order chosen for the processor."""

    def code(context, builder, sig, values):
        kind = ir.FunctionType(_FLOAT, [_FLOAT, a.vector])
        name = f"llvm.vector.reduce.fadd.v{a.width}f32"
        function = cgutils.get_or_insert_function(builder.module, kind, name)
        return builder.call(function, [ir.Constant(_FLOAT, 0.0), values[0]], fastmath=("reassoc", *_FUSED))

    return types.float32(a), code


@intrinsic
def four_totals(typing, a, b, c, d):
    """A vector of the sums of a, b, c and d, which have 16 or more lanes; half the work of four `total`s."""

    def code(context, builder, sig, values):
        parts = [_folded(builder, value, a.width, 16) for value in values]
        while len(parts) > 1:
            step = 4 // len(parts)
            pairs = zip(parts[::2], parts[1::2], strict=True)
            parts = [_crossed(builder, x, y, step) for x, y in pairs]
        return _folded(builder, parts[0], 16, 4)

    return Lanes(4)(a, a, a, a), code


def _folded(builder, value, width, least):
    """Adds the two halves of a vector until `least` lanes are left."""
    while width > least:
        width //= 2
        halves = (_picked(builder, value, value, range(i, i + width)) for i in (0, width))
        value = builder.fadd(*halves)
    return value


def _crossed(builder, x, y, step):
    """Sums of lanes that are `step` apart: of x if the lane's index lacks the bit `step`, else of y."""
    here = [i if not i & step else 16 + i for i in range(16)]
    there = [i ^ step if not i & step else 16 + (i ^ step) for i in range(16)]
    return builder.fadd(_picked(builder, x, y, here), _picked(builder, x, y, there))


def _picked(builder, x, y, lanes):
    kind = ir.VectorType(ir.IntType(32), len(lanes))
    return builder.shuffle_vector(x, y, ir.Constant(kind, list(lanes)))


@intrinsic
def power_of_two(typing, a):
    """2ⁿ for lanes that hold 1.5 · 2²³ + n, n from −126 to 127: their lowest bits become the exponent."""

    def code(context, builder, sig, values):
        constant = [ir.Constant(a.bits, [number] * a.width) for number in (127, 23)]
        bits = builder.add(builder.bitcast(values[0], a.bits), constant[0])
        return builder.bitcast(builder.shl(bits, constant[1]), a.vector)

    return a(a), code
