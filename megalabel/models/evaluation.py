"""Evaluation mode of a model for as long as any thread needs it."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator

from torch import nn

_lock = threading.Lock()  # for all models: a lock of each could be neither copied nor pickled


class Evaluation:
    """Switches modules to evaluation while one thread or more is in the block; then the modes come back."""

    def __init__(self) -> None:
        self._threads, self._modes = 0, list[tuple[nn.Module, bool]]()

    @contextlib.contextmanager
    def of(self, modules: Iterable[nn.Module]) -> Iterator[None]:
        """The block in which the modules are in evaluation mode; always the same modules."""
        with _lock:
            if self._threads == 0:
                self._modes = [(part, part.training) for part in modules]
                for part, _ in self._modes:
                    part.eval()
            self._threads += 1
        try:
            yield
        finally:
            with _lock:
                self._threads -= 1
                if self._threads == 0:
                    for part, mode in self._modes:
                        part.train(mode)
                    self._modes = []

    def __getstate__(self) -> dict[str, object]:
        return {"_threads": 0, "_modes": []}  # whoever copies a model at work gets one at rest


def _renew() -> None:
    """After a fork the child has no thread that would release the lock."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_renew)
