"""Pointers into arrays, and ways to compile what takes them, for inner functions of numba code.

`pointer(array)` is where a contiguous array begins. It reads and writes single numbers by [], `lanes.py` several,
and nobody looks whether a place lies inside. Inner functions take pointers, since numba counts the references of
every array that it hands on, which costs more than a label.
"""

from __future__ import annotations

import operator
from typing import Any

import numba
from numba.core import types
from numba.extending import intrinsic, models, overload, register_model

# Called by compiled code alone: doors for Python would take as long to compile as the function. What is inlined is
# compiled by itself first; the merged is not, which suits long functions that are called once or twice.
_inner = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
called = numba.njit(**_inner)
inlined = numba.njit(forceinline=True, **_inner)
merged = numba.njit(inline="always", **_inner)


class Pointer(types.Type):
    """The type of a pointer to numbers, as numba knows it."""

    def __init__(self, dtype: types.Type) -> None:
        super().__init__(name=f"Pointer({dtype})")
        self.dtype = dtype


@register_model(Pointer)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Pointer) -> None:
        super().__init__(manager, kind, manager.lookup(kind.dtype).get_data_type().as_pointer())


@intrinsic
def pointer(typing, array):
    """Where a contiguous array begins; the array must be kept alive beside it."""

    def code(context, builder, sig, values):
        return context.make_array(array)(context, builder, values[0]).data

    return Pointer(array.dtype)(array), code


def place(context, builder, sig, values):
    """Emits the address of number values[1] after the pointer values[0]."""
    return builder.gep(values[0], [context.cast(builder, values[1], sig.args[1], types.intp)])


@intrinsic
def _read(typing, data, at):
    def code(context, builder, sig, values):
        return context.unpack_value(builder, data.dtype, place(context, builder, sig, values))

    return data.dtype(data, at), code


@intrinsic
def _write(typing, data, at, number):
    def code(context, builder, sig, values):
        value = context.cast(builder, values[2], sig.args[2], data.dtype)
        context.pack_value(builder, data.dtype, value, place(context, builder, sig, values))
        return context.get_dummy_value()

    return types.void(data, at, number), code


@overload(operator.getitem)
def _getitem(data, at):
    return (lambda data, at: _read(data, at)) if isinstance(data, Pointer) else None


@overload(operator.setitem)
def _setitem(data, at, number):
    return (lambda data, at, number: _write(data, at, number)) if isinstance(data, Pointer) else None
