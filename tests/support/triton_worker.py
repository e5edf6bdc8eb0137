"""A process in which Triton interprets its kernels: TRITON_INTERPRET must be set before Triton is imported."""

from __future__ import annotations

import importlib
import multiprocessing
import os
import pickle
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
    # Pickled here by value, since a pool would put tensors into shared memory.
    return pickle.loads(worker.submit(_call, pickle.dumps((name, args, named))).result(LIMIT))


def _interpret() -> None:
    os.environ["TRITON_INTERPRET"] = "1"
    import torch

    torch.use_deterministic_algorithms(True)  # which also fills fresh memory with NaN


def _call(payload: bytes) -> bytes:
    name, args, named = pickle.loads(payload)
    family, module, function = name.split(".")
    body = getattr(importlib.import_module(f"megalabel.kernels.{family}._triton.{module}"), function)
    return pickle.dumps((body(*args, **named), (*args, *named.values())))
