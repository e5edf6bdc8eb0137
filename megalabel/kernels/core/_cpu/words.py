"""Vectors of 32-bit integers in registers, for numba loops over the bits of numbers.

`words(n)` creates a vector of n lanes that are 0, 1, 2, …; `load_words` moves one from memory, `store_low` the
lowest bits of each lane to it. + − · & | ^ << and >> are elementwise and wrap around; >> moves zeros in from the
left. A shift by 32 or more is undefined. `larger`, `smaller`, `largest` (of all lanes) and `below` (1 or 0)
compare signed numbers.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic, models, overload, register_model

from megalabel.kernels.core._cpu.pointers import place

_WORD = ir.IntType(32)


class Words(types.Type):
    """The numba type of a vector of `width` integers."""

    def __init__(self, width: int) -> None:
        super().__init__(name=f"Words({width})")
        self.width = width

    @property
    def vector(self) -> ir.VectorType:
        """The LLVM type of the vector."""
        return ir.VectorType(_WORD, self.width)


@register_model(Words)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Words) -> None:
        super().__init__(manager, kind, kind.vector)


@intrinsic(prefer_literal=True)
def words(typing, width):
    """The vector 0, 1, 2, …, n − 1; n must be a constant."""
    kind = Words(width.literal_value)
    return kind(width), lambda context, builder, sig, values: ir.Constant(kind.vector, list(range(kind.width)))


@intrinsic
def in_all(typing, number, like):
    """A vector with the lowest 32 bits of an integer in every lane, as wide as `like`."""

    def code(context, builder, sig, values):
        number = context.cast(builder, values[0], sig.args[0], types.uint32)
        none = ir.Constant(like.vector, ir.Undefined)
        first = builder.insert_element(none, number, ir.Constant(_WORD, 0))
        return builder.shuffle_vector(first, none, ir.Constant(like.vector, None))

    return like(number, like), code


@intrinsic
def load_words(typing, data, at, like):
    """The bits of data[at], data[at + 1], …, numbers of 8, 16 or 32 bits, as wide as `like`."""

    def code(context, builder, sig, values):
        bits = data.dtype.bitwidth
        vector = ir.VectorType(ir.IntType(bits), like.width)
        at = builder.bitcast(place(context, builder, sig, values), vector.as_pointer())
        found = builder.load(at, align=bits // 8)
        return found if bits == 32 else builder.zext(found, like.vector)

    return like(data, at, like), code


@intrinsic
def store_low(typing, data, at, lanes):
    """Writes the lowest bits of each lane to data[at], data[at + 1], …, numbers of 8, 16 or 32 bits."""

    def code(context, builder, sig, values):
        bits = data.dtype.bitwidth
        vector = ir.VectorType(ir.IntType(bits), lanes.width)
        narrow = values[2] if bits == 32 else builder.trunc(values[2], vector)
        at = builder.bitcast(place(context, builder, sig, values), vector.as_pointer())
        builder.store(narrow, at, align=bits // 8)
        return context.get_dummy_value()

    return types.void(data, at, lanes), code


@intrinsic
def largest(typing, lanes):
    """The largest lane, lanes being signed numbers."""

    def code(context, builder, sig, values):
        kind = ir.FunctionType(_WORD, [lanes.vector])
        name = f"llvm.vector.reduce.smax.v{lanes.width}i32"
        found = builder.call(cgutils.get_or_insert_function(builder.module, kind, name), [values[0]])
        return builder.sext(found, ir.IntType(64))

    return types.int64(lanes), code


def _two(emit: Callable[[ir.IRBuilder, Any, Any], Any]) -> Any:
    """An elementwise function of two vectors."""

    @intrinsic
    def work(typing, a, b):
        return a(a, b), lambda context, builder, sig, values: emit(builder, *values)

    return work


def _each(symbol: Callable[..., Any], emit: Callable[[ir.IRBuilder, Any, Any], Any]) -> None:
    """Defines the operator `symbol` elementwise."""
    work = _two(emit)

    @overload(symbol)
    def on_words(a, b):
        if isinstance(a, Words) and a == b:
            return lambda a, b: work(a, b)
        return None


_each(operator.add, lambda builder, a, b: builder.add(a, b))
_each(operator.sub, lambda builder, a, b: builder.sub(a, b))
_each(operator.mul, lambda builder, a, b: builder.mul(a, b))
_each(operator.and_, lambda builder, a, b: builder.and_(a, b))
_each(operator.or_, lambda builder, a, b: builder.or_(a, b))
_each(operator.xor, lambda builder, a, b: builder.xor(a, b))
_each(operator.lshift, lambda builder, a, b: builder.shl(a, b))
_each(operator.rshift, lambda builder, a, b: builder.lshr(a, b))

larger = _two(lambda builder, a, b: builder.select(builder.icmp_signed(">", a, b), a, b))
smaller = _two(lambda builder, a, b: builder.select(builder.icmp_signed("<", a, b), a, b))


def _product(builder, a, b):
    floats = ir.VectorType(ir.FloatType(), a.type.count)
    return builder.bitcast(builder.fmul(builder.sitofp(a, floats), builder.bitcast(b, floats)), a.type)


below = _two(lambda builder, a, b: builder.zext(builder.icmp_signed("<", a, b), a.type))
scaled = _two(_product)  # the bits of the float32 product of integers and of float32 numbers given as bits
