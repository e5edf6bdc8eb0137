"""Runs a function with a chosen implementation of the kernels."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from megalabel.kernels.core import dispatch

Args = ParamSpec("Args")
Result = TypeVar("Result")


def using(
    backend: dispatch.Backend, function: Callable[Args, Result], *args: Args.args, **named: Args.kwargs
) -> Result:
    """The result of the function when every operation uses this implementation."""
    with dispatch.use(backend):
        return function(*args, **named)
