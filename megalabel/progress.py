"""Shows the progress of a long task: a bar on a terminal, a plain line every ten seconds elsewhere."""

from __future__ import annotations

import sys
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self, TextIO

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

LINE_SECONDS = 10.0  # between two plain lines


class Progress:
    """Counts the steps of a task and shows them on stderr; a context manager, which removes the bar at its end.

    On a terminal, the bar is that of `rich`, which is imported only then. Elsewhere, tasks of less than ten
    seconds write nothing, so pipes and log files stay clean.

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
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if self.description and self._stream.isatty():
            bar = self._make_bar()
            self._stack.enter_context(bar)
            self._bar = bar, bar.add_task(self.description, total=self.total, completed=self.done, note="")
        return self

    def __exit__(self, *_: object) -> None:
        self._bar = None
        self._stack.close()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """Counts `steps` more steps as done; `note` is shown after the count."""
        self.done += steps
        if self._bar is not None:
            bar, task = self._bar
            bar.update(task, completed=self.done, note=note)
        elif self.description and time.monotonic() - self._last >= LINE_SECONDS:
            with suppress(OSError):  # a full disk, or a closed terminal, ends no task
                self._write_line(note)

    def write(self, text: str) -> None:
        """Writes a line of text, above the bar if there is one."""
        if self._bar is not None:
            self._bar[0].console.print(text, markup=False, highlight=False, soft_wrap=True)
        else:
            self._stream.write(text + "\n")
            self._stream.flush()

    def _write_line(self, note: str) -> None:
        now = self._last = time.monotonic()
        rate = (self.done - self._first) / max(now - self._start, 1e-9)
        if self.total is None:
            parts = [f"{self.description} {self.done:,}", note]
        else:
            left = _clock((self.total - self.done) / max(rate, 1e-9))
            parts = [f"{self.description} {self.done:,}/{self.total:,}", note, f"{left} left"]
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


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
