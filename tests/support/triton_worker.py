"""A process in which Triton interprets its kernels: TRITON_INTERPRET must be set before Triton is imported."""

from __future__ import annotations

import importlib
import io
import multiprocessing
import os
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any

LIMIT = 300.0  # seconds that a call may take


@contextmanager
def interpreter() -> Iterator[Executor]:
    """An executor in which `call` runs kernels, so that the test process never imports Triton."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, initializer=_interpret) as worker:
        yield worker


def call(worker: Executor, name: str, *args: Any, **named: Any) -> tuple[Any, tuple[Any, ...]]:
    """The result of `module.function` of a `_triton` folder, and the arguments after the call, named ones last."""
    return _unpacked(worker.submit(_call, _packed((name, args, named))).result(LIMIT))


def dispatched(worker: Executor, name: str, *args: Any, **named: Any) -> tuple[Any, tuple[Any, ...]]:
    """The same for a public function `package.module.function`, which finds its Triton body by itself."""
    return _unpacked(worker.submit(_dispatched, _packed((name, args, named))).result(LIMIT))


def _packed(what: Any) -> bytes:
    """By value, since a pool would put tensors into shared memory; by torch, which knows float8."""
    import torch

    file = io.BytesIO()
    torch.save(what, file)
    return file.getvalue()


def _unpacked(payload: bytes) -> Any:
    import torch

    return torch.load(io.BytesIO(payload), weights_only=False)


def _interpret() -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    import torch

    torch.use_deterministic_algorithms(True)  # which also fills fresh memory with NaN


def _call(payload: bytes) -> bytes:
    name, args, named = _unpacked(payload)
    family, module, function = name.split(".")
    body = getattr(importlib.import_module(f"megalabel.kernels.{family}._triton.{module}"), function)
    return _packed((body(*args, **named), (*args, *named.values())))


def _dispatched(payload: bytes) -> bytes:
    from megalabel.kernels.core import dispatch

    name, args, named = _unpacked(payload)
    module, _, function = name.rpartition(".")
    with dispatch.use("triton"):
        found = getattr(importlib.import_module(module), function)(*args, **named)
    return _packed((found, (*args, *named.values())))
