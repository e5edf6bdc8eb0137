"""Chooses the implementation of an operation: plain, compiled for the CPU, or Triton.

An operation has a plain implementation, which is its definition, and compiled ones beside it: `_cpu/<name>.py`
(numba) and `_triton/<name>.py` of its family. One `Operation` per such file decides which of them a call takes:

    _SCORES = Operation(__package__, "candidate_scores", ("cpu", "triton"))
    fast = _SCORES.for_table(weight)          # the compiled module, or None for the plain implementation
    scores = plain_scores if fast is None else fast.scores

Tests and benchmarks choose by themselves:

    with dispatch.use("plain"):
        candidate_scores(views, weight, bias, candidates)
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, get_args

from megalabel.errors import SettingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Backend = Literal["plain", "cpu", "triton"]

# A context variable, so that threads do not disturb each other; `threads.run_ranges` hands it to its pool.
_forced: ContextVar[Backend | None] = ContextVar("megalabel_kernels_backend", default=None)

_PACKAGES = {"cpu": "numba", "triton": "triton"}


@contextmanager
def use(backend: Backend) -> Iterator[None]:
    """Within the `with` block, every operation called from this thread takes the given implementation.

    It takes it where it can: an operation that has no such implementation, or cannot use it for the tensors of a
    call, takes the plain one. "cpu" also means the compiled implementation for a small amount of work. "triton"
    also counts for tensors on a CPU, which Triton's interpreter accepts; operations on arrays of the host, which
    never have a Triton implementation, go on as without it. Blocks may be nested.

    Raises:
        SettingError: an unknown backend.
    """
    if backend not in get_args(Backend):
        wanted = " or ".join(get_args(Backend))
        raise SettingError(f"backend={backend!r}", wanted=wanted, next_step="choose one of them", where="backend")
    token = _forced.set(backend)
    try:
        yield
    finally:
        _forced.reset(token)


class Operation:
    """The compiled implementations of one operation, imported when they are first needed.

    Args:
        family: the package of the family, `__package__` of the calling module.
        name: the name of the file in `_cpu` and `_triton`.
        backends: which of the two folders have such a file.
        enough_work: from how much work on `for_work` takes the compiled implementation: below it, the plain one
            ends before numba is imported (half a second) and the code compiled.
    """

    def __init__(
        self, family: str, name: str, backends: tuple[str, ...] = ("cpu",), *, enough_work: int = 0
    ) -> None:
        self.enough_work = enough_work
        self._files = {backend: f"{family}._{backend}.{name}" for backend in backends}
        self._modules: dict[str, ModuleType | None] = {}

    def for_table(self, table: Tensor, *beside: Tensor) -> Any | None:
        """The compiled module for a table of weights, or None where the plain implementation runs.

        The compiled implementations read raw memory: they take float32 tables, contiguous as the tensors
        `beside` it have to be, on a CPU (numba) or on CUDA (Triton).
        """
        import torch

        if table.dtype is not torch.float32 or not table.is_contiguous():
            return None
        for tensor in beside:
            if not tensor.is_contiguous():
                return None
        return self._for(table.is_cpu, table.is_cuda)

    def for_device(self, device: torch.device) -> Any | None:
        """The same where only the device decides, since the caller makes the tensors as they have to be."""
        return self._for(device.type == "cpu", device.type == "cuda")

    def for_work(self, work: int) -> Any | None:
        """The module compiled for the CPU if there is enough work to pay for it, for arrays of the host."""
        forced = _forced.get()
        if forced == "plain" or (work < self.enough_work and forced != "cpu"):
            return None
        return self._load("cpu")

    def always(self) -> Any:
        """The module compiled for the CPU, for an operation whose plain implementation takes other arguments."""
        return self._load("cpu")

    def _for(self, is_cpu: bool, is_cuda: bool) -> Any | None:
        forced = _forced.get()
        if forced is None:
            backend = "cpu" if is_cpu else "triton" if is_cuda else None
        elif forced == "cpu":
            backend = "cpu" if is_cpu else None
        else:
            backend = "triton" if forced == "triton" else None
        return None if backend is None else self._load(backend)

    def _load(self, backend: str) -> Any | None:
        """The compiled module, or None where the operation or this machine lacks it."""
        try:
            return self._modules[backend]
        except KeyError:
            there = backend in self._files and _installed(_PACKAGES[backend])
            module = importlib.import_module(self._files[backend]) if there else None
            self._modules[backend] = module
            return module


@functools.cache
def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None
