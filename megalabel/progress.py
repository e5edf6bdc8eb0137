"""Shows how far a long task is: a bar on a terminal and in Jupyter, elsewhere a plain line every ten seconds."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Collection, Iterator
from contextlib import ExitStack, suppress
from contextvars import ContextVar
from typing import TYPE_CHECKING, Generic, Self, TextIO, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

LINE_SECONDS = 10.0  # between two plain lines
BAR_SECONDS = 0.1  # between two updates of a bar
_TAKEN: ContextVar[Progress | bool] = ContextVar("the task that shows its progress; True for none", default=False)

Item = TypeVar("Item")


class Progress:
    """Counts the steps of a task and shows them on stderr; a context manager, which removes the bar at its end.

    On a terminal and in Jupyter, the bar is that of `rich`, which is imported only then. Elsewhere, tasks of less
    than ten seconds write nothing, so pipes and log files stay clean. Of tasks inside one another, the outer one
    is shown.

    Args:
        description: the name of the task; with an empty one nothing is shown.
        total: the number of steps; None where it is not known.
        done: the number of steps that are done already.
        stream: where to write; default: stderr.
    """

    def __init__(
        self, description: str, total: int | None, *, done: int = 0, stream: TextIO | None = None
    ) -> None:
        self.description, self.done = description, done
        self.total = None if total is None else max(total, 1)
        self._first = done
        self._stream = stream if stream is not None else sys.stderr
        self._start = self._last = time.monotonic()
        self._bar: tuple[Bar, TaskID] | None = None
        self._shown, self._note = False, ""
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._shown = bool(self.description) and not _TAKEN.get()
        if self._shown:
            self._stack.enter_context(_taken(self))
            if self._stream is not None and (self._stream.isatty() or _in_jupyter()):
                bar = self._make_bar()
                self._stack.enter_context(bar)
                self._bar = bar, bar.add_task(self.description, total=self.total, completed=self.done, note="")
        return self

    def __exit__(self, *_: object) -> None:
        self._update()
        self._bar = None
        self._stack.close()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Counts `steps` more steps as done; `note` is shown after the count."""
        self.done += steps
        self._note = note
        if not self._shown:
            return
        now = time.monotonic()
        if self._bar is not None:
            if now - self._last >= BAR_SECONDS:
                self._last = now
                self._update()
        elif now - self._last >= LINE_SECONDS:
            with suppress(OSError):  # a full disk, or a closed terminal, ends no task
                self._write_line(note)

    def write(self, text: str) -> None:
        """Writes a line of text, above the bar if there is one."""
        if self._bar is not None:
            self._bar[0].console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()

    def _update(self) -> None:
        if self._bar is not None:
            bar, task = self._bar
            bar.update(task, completed=self.done, note=self._note)

    def _write_line(self, note: str) -> None:
        now = self._last = time.monotonic()
        rate = (self.done - self._first) / max(now - self._start, 1e-9)
        if self.total is None:
            parts = [f"{self.description} {self.done:,}", note]
        else:
            parts = [f"{self.description} {self.done:,}/{self.total:,}", note]
            if self.done > self._first + 1:  # the first step may load or compile what the others use
                left = _clock(max(self.total - self.done, 0) / max(rate, 1e-9))  # a total may be an estimate
                parts.append(f"{left} left")
        self.write("  ".join(part for part in parts if part))

    def _make_bar(self) -> Bar:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        return Bar(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=28),
            MofNCompleteColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            TimeRemainingColumn(),
            console=Console(file=self._stream),
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )


class Counted(Generic[Item]):
    """Items whose reading is shown as progress, each time that they are iterated."""

    def __init__(self, items: Collection[Item], description: str) -> None:
        self._items, self._description = items, description

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Item]:
        with Progress(self._description, len(self._items)) as shown:
            for item in self._items:
                yield item
                shown.advance()


def say(text: str) -> None:
    """Writes a line of text to stderr, above the bar of the task that shows one."""
    shown = _TAKEN.get()
    if isinstance(shown, Progress):
        shown.write(text)
    else:
        print(text, file=sys.stderr)  # noqa: T201


def hidden() -> contextlib.AbstractContextManager[None]:
    """Within the block, no progress is shown."""
    return _taken(True)


@contextlib.contextmanager
def _taken(by: Progress | bool) -> Iterator[None]:
    before = _TAKEN.get()
    _TAKEN.set(by)
    try:
        yield
    finally:
        _TAKEN.set(before)  # not by its token: a generator may end in another context than it began in


def _in_jupyter() -> bool:
    """Whether this is a notebook whose widgets can show a bar."""
    if "ipykernel" not in sys.modules:  # the kernel of a notebook
        return False
    from importlib.util import find_spec

    return find_spec("ipywidgets") is not None


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
