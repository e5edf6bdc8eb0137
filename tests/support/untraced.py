"""Calls functions of other packages without the trace function that counts lines on Python 3.11 (`make coverage`).

A trace function slows down all Python code, also that of packages whose lines are not counted. The functions that
are listed here take seconds, and run no line of megalabel that is counted.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import sys
from collections.abc import Callable
from typing import Any

import pytest

FUNCTIONS = [
    "numba.core.compiler:compile_extra",
    "torch.export:ExportedProgram.run_decompositions",
    "torch.onnx:ONNXProgram.optimize",
]


def without_tracing(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function, during whose calls nothing is traced in this thread."""

    @functools.wraps(function)
    def call(*arguments: Any, **options: Any) -> Any:
        trace = sys.gettrace()
        sys.settrace(None)
        try:
            return function(*arguments, **options)
        finally:
            sys.settrace(trace)

    return call


def install(patch: pytest.MonkeyPatch) -> None:
    """Replaces the functions where they are defined, if this process is traced; a version may lack some."""
    if sys.gettrace() is None:
        return
    for address in FUNCTIONS:
        module, names = address.split(":")
        *owners, name = names.split(".")
        with contextlib.suppress(ImportError, AttributeError):
            place = functools.reduce(getattr, owners, importlib.import_module(module))
            patch.setattr(place, name, without_tracing(getattr(place, name)))
