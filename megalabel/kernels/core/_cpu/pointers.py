"""Pointers into arrays, and decorators for inner functions of numba code that take them.

`pointer(array)` is the address of a contiguous array. Indexing by [] reads and writes single numbers, `lanes.py`
vectors; there are no bounds checks. Inner functions take pointers because numba counts references to every array
that is passed on, which takes longer than the computation for a label.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numba
from llvmlite import ir  # type: ignore[import-untyped]
from numba.core import types
from numba.extending import intrinsic, models, overload, register_model

# For functions that only compiled code calls: wrappers for Python would take as long to compile as the function
# itself. An inlined function is first compiled by itself; a merged one is not, which suits long functions with one
# or two calls.
_inner = {"nogil": True, "error_model": "numpy", "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
called = numba.njit(**_inner)
inlined = numba.njit(forceinline=True, **_inner)
merged = numba.njit(inline="always", **_inner)


def by_type(function: Callable[..., Any], bodies: dict[type, Callable[..., Any]]) -> None:
    """Lets compiled code call the function in `bodies` for the type of the first argument, a named tuple."""

    def body_of(s, *_):
        return bodies.get(getattr(s, "instance_class", type(None)))

    overload(function, jit_options=_inner, strict=False)(body_of)


class Pointer(types.Type):
    """The numba type of a pointer to numbers."""

    def __init__(self, dtype: types.Type) -> None:
        super().__init__(name=f"Pointer({dtype})")
        self.dtype = dtype


@register_model(Pointer)
class _PointerModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Pointer) -> None:
        super().__init__(manager, kind, manager.lookup(kind.dtype).get_data_type().as_pointer())


@intrinsic
def pointer(typing, array):
    """The address of a contiguous array, which the caller must keep alive."""

    def code(context, builder, sig, values):
        return context.make_array(array)(context, builder, values[0]).data

    return Pointer(array.dtype)(array), code


@intrinsic
def prefetch(typing, data, at):
    """Lets the core fetch the cache line of data[at], which will be read soon."""

    def code(context, builder, sig, values):
        number = ir.IntType(32)
        address = builder.bitcast(place(context, builder, sig, values), ir.IntType(8).as_pointer())
        kind = ir.FunctionType(ir.VoidType(), [address.type, number, number, number])
        fetch = builder.module.declare_intrinsic("llvm.prefetch", [address.type], kind)
        how = (0, 3, 1)  # to read it, and often; data, not code
        builder.call(fetch, [address, *(ir.Constant(number, value) for value in how)])
        return context.get_dummy_value()

    return types.void(data, at), code


@intrinsic
def shifted(typing, data, by):
    """The address of data[by]; it may lie outside of the array, as long as what is read and written does not."""

    def code(context, builder, sig, values):
        return place(context, builder, sig, values)

    return data(data, by), code


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
