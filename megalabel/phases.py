"""Times the phases of a long task, so that each second belongs to one of them."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar


class Phases:
    """The seconds of phases by name, in the order in which they began.

    A phase inside another one interrupts it: its seconds are its own. Phases of the same name add up.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._open: list[str] = []
        self._since = time.monotonic()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """The block is a phase of this name."""
        self._count()
        self._open.append(name)
        self.seconds.setdefault(name, 0.0)
        try:
            yield
        finally:
            self._count()
            self._open.pop()

    def so_far(self) -> dict[str, float]:
        """The seconds by name, those of phases that have not ended included."""
        self._count()
        return dict(self.seconds)

    def _count(self) -> None:
        now = time.monotonic()
        if self._open:
            self.seconds[self._open[-1]] += now - self._since
        self._since = now


_CURRENT: ContextVar[Phases | None] = ContextVar("the phases of the task", default=None)


@contextlib.contextmanager
def timed() -> Iterator[Phases]:
    """The block, or the function that it decorates, is a task; a task inside another one is a part of that."""
    before = _CURRENT.get()
    found = before or Phases()
    _CURRENT.set(found)
    try:
        yield found
    finally:
        _CURRENT.set(before)


@contextlib.contextmanager
def phase(name: str) -> Iterator[None]:
    """The block, or the function that it decorates, is a phase of the task that `timed` times, if there is one."""
    current = _CURRENT.get()
    with contextlib.nullcontext() if current is None else current.phase(name):
        yield


def seconds_by_phase() -> dict[str, float]:
    """The seconds so far of the phases of the task that `timed` times; {} outside of such a task."""
    current = _CURRENT.get()
    return {} if current is None else current.so_far()
