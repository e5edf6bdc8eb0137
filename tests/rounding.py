"""A pytest plugin, `-p rounding`: torch's float32 products are rounded as some other processor may round them.

How a product is rounded depends on the processor, on the shape, and on the place in the result, and no promise
of this project may hang on it. Under this plugin every inexact number of a product moves by up to two units in
the last place of the terms' sum of magnitudes. The move depends on the shape and the place alone, so that the
same product of the same numbers gives the same bits. A product that is exact, as of small integers, stays so.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from megalabel.kernels.core import threads as label_threads

UNITS = 2 * 2**-24
PRODUCTS = {"aten::mm", "aten::bmm"}
SUMS = {"aten::addmm", "aten::addmm_", "aten::baddbmm", "aten::baddbmm_"}


class OtherRounding(TorchDispatchMode):
    """Moves the results of the products that run in this thread."""

    def __torch_dispatch__(self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
        kwargs, name = kwargs or {}, func.overloadpacket._qualified_op_name
        if name not in PRODUCTS | SUMS or not all(map(_plain, args)):
            return func(*args, **kwargs)
        a, b = (t.double() for t in args[-2:])
        exact, size = a @ b, a.abs() @ b.abs()
        if name in SUMS:  # before the call, which may write into what it adds
            beta, alpha, base = kwargs.get("beta", 1), kwargs.get("alpha", 1), args[0].double()
            exact, size = alpha * exact, abs(alpha) * size
            if beta != 0:
                exact, size = exact + beta * base, size + abs(beta) * base.abs()
        found = func(*args, **kwargs)
        if found.dtype == torch.float32:
            moved = exact + UNITS * size * _moves(found.shape)
            found.copy_(torch.where(exact.float() != exact, moved, found))
        return found


def _plain(t: Any) -> bool:
    return isinstance(t, Tensor) and t.layout == torch.strided and t.device.type == "cpu"


def _moves(shape: torch.Size) -> Tensor:
    """Numbers from -1 to 1, the same for the same shape."""
    seed = torch.Generator().manual_seed(math.prod(side * 1009**i for i, side in enumerate(shape)) % 2**31)
    return 2 * torch.rand(shape, generator=seed, dtype=torch.float64) - 1


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol() -> Iterator[Any]:
    with OtherRounding():
        return (yield)


def pytest_configure() -> None:
    if "OMP_NUM_THREADS" not in os.environ:  # this file imports torch before conftest.py asks for one thread
        torch.set_num_threads(1)
    inside = label_threads._without_gradients

    def with_other_rounding(*arguments: Any) -> Any:
        with OtherRounding():  # each thread has its own mode
            return inside(*arguments)

    label_threads._without_gradients = with_other_rounding
