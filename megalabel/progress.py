"""How far along a long task is: a bar on a terminal, a plain line now and then otherwise."""

from __future__ import annotations

import sys
import time
from typing import TextIO

LINE_EVERY = 10.0  # seconds between plain lines
REDRAW_EVERY = 0.1  # seconds between redraws of the bar
WIDTH = 28


class Progress:
    """Counts `done` of `total` and tells a person on stderr; a context manager.

    Nothing is written for tasks that end within a second off a terminal, so pipes and logs stay clean.
    """

    def __init__(self, what: str, total: int, *, done: int = 0, stream: TextIO | None = None) -> None:
        self.what, self.total, self.done = what, max(total, 1), done
        self._first = done
        self._stream = stream if stream is not None else sys.stderr
        self._terminal = bool(getattr(self._stream, "isatty", lambda: False)())
        self._start = self._last = time.monotonic()

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._terminal:
            self._stream.write("\r\x1b[2K")
            self._stream.flush()

    def advance(self, steps: int = 1, note: str = "") -> None:
        """`steps` more are done; `note` is shown behind the count."""
        self.done += steps
        now = time.monotonic()
        if now - self._last < (REDRAW_EVERY if self._terminal else LINE_EVERY):
            return
        self._last = now
        rate = (self.done - self._first) / max(now - self._start, 1e-9)
        left = (self.total - self.done) / max(rate, 1e-9)
        text = f"{self.what} {self.done:,}/{self.total:,}  {note}  {_clock(left)} left".replace("    ", "  ")
        if self._terminal:
            full = int(WIDTH * min(self.done / self.total, 1.0))
            text = f"\r\x1b[2K{'━' * full}{'╌' * (WIDTH - full)} {text}"
        self._stream.write(text if self._terminal else text + "\n")
        self._stream.flush()


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
