"""Vectors of sixteen 32-bit sums of products of 8-bit integers, for numba loops.

`add_products` adds, to each of sixteen sums, the products of four weights with the same four bytes of a text.
Where the processor has the instruction for it (VPDPBUSD of AVX-512 VNNI) that is one instruction; elsewhere the
same sums are written as products of 16-bit integers, which LLVM turns into the multiply-and-add instructions
that there are. Sums of integers are exact, so the results are the same on every processor.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import cgutils, types
from numba.extending import intrinsic, models, register_model

from megalabel.kernels.core._cpu.lanes import Lanes
from megalabel.kernels.core._cpu.pointers import place

ROWS = 16  # sums per vector, and rows per group of a table
BYTES = 4 * ROWS

_BYTE, _HALF, _WORD = ir.IntType(8), ir.IntType(16), ir.IntType(32)
_SUMS, _PACKED = ir.VectorType(_WORD, ROWS), ir.VectorType(_BYTE, BYTES)
_FLOATS = ir.VectorType(ir.FloatType(), ROWS)


class IntLanes(types.Type):
    """The numba type of sixteen 32-bit integers."""

    def __init__(self) -> None:
        super().__init__(name="IntLanes")


int_lanes = IntLanes()


@register_model(IntLanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: IntLanes) -> None:
        super().__init__(manager, kind, _SUMS)


@intrinsic
def load_sums(typing, data, at):
    """The sums data[at] to data[at + 15] of a pointer to int32."""

    def code(context, builder, sig, values):
        found = builder.bitcast(place(context, builder, sig, values), _SUMS.as_pointer())
        return builder.load(found, align=4)

    return int_lanes(data, at), code


@intrinsic
def add_products(typing, sums, weights, at, word):
    """sums[i] + Σ_j weights[at + 4 i + j] · byte j of `word`, j from 0 to 3.

    weights: a pointer to int8. word: an int32, whose bytes are unsigned.
    """

    def code(context, builder, sig, values):
        sums, data, at, word = values
        at = context.cast(builder, at, sig.args[2], types.intp)
        where = builder.bitcast(builder.gep(data, [at]), _PACKED.as_pointer())
        packed = builder.load(where, align=1)
        none = ir.Constant(_SUMS, ir.Undefined)
        word = context.cast(builder, word, sig.args[3], types.int32)
        first = builder.insert_element(none, word, ir.Constant(_WORD, 0))
        spread = builder.shuffle_vector(first, none, ir.Constant(_SUMS, None))
        if "+avx512vnni" in getattr(context.codegen(), "_tm_features", ""):
            return _one_instruction(builder, sums, spread, packed)
        return _products(builder, sums, builder.bitcast(spread, _PACKED), packed)

    return int_lanes(sums, weights, at, word), code


def _one_instruction(builder, sums, spread, packed):
    kind = ir.FunctionType(_SUMS, [_SUMS, _SUMS, _SUMS])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.x86.avx512.vpdpbusd.512")
    return builder.call(function, [sums, spread, builder.bitcast(packed, _SUMS)])


def _products(builder, sums, spread, packed):
    wide = ir.VectorType(_HALF, BYTES)
    texts, weights = builder.zext(spread, wide), builder.sext(packed, wide)
    for step in (0, 2):
        pairs = []
        for j in (step, step + 1):
            mask = ir.Constant(_SUMS, range(j, BYTES, 4))
            x, w = (builder.shuffle_vector(v, v, mask) for v in (texts, weights))
            pairs.append(builder.mul(builder.sext(x, _SUMS), builder.sext(w, _SUMS)))
        sums = builder.add(sums, builder.add(*pairs))
    return sums


@intrinsic
def as_floats(typing, sums):
    """The sums as a vector of sixteen float32 numbers."""
    return Lanes(ROWS)(sums), lambda context, builder, sig, values: builder.sitofp(values[0], _FLOATS)


@intrinsic
def bits_from(typing, a, b):
    """An integer whose bit i is set if lane i of a is not below that of b; not set for NaN."""

    def code(context, builder, sig, values):
        kept = builder.fcmp_ordered(">=", values[0], values[1])
        return builder.zext(builder.bitcast(kept, ir.IntType(a.width)), ir.IntType(64))

    return types.int64(a, a), code
