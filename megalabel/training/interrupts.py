"""Handles Ctrl-C and SIGTERM during training: finishes the current step, saves it, then ends the process."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupts:
    """The signal to stop the training, if one was received.

    Args:
        patient: whether later signals are ignored: torchrun sends one more to each process than the terminal.

    Attributes:
        asked: the number of the signal; None if none was received.
    """

    def __init__(self, *, patient: bool = False) -> None:
        self.asked: int | None = None
        self._patient = patient
        self._before: dict[int, Any] = {}

    @contextlib.contextmanager
    def waiting(self) -> Iterator[Interrupts]:
        """A context in which the first signal is stored in `asked`; a second one usually has its effect at once.

        Applies only in the main thread, and to signals whose handlers the program has not replaced or disabled (as
        `nohup` does for SIGHUP).
        """
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.getsignal(n) for n in SIGNALS if _is_usual(signal.getsignal(n))}
            for number in self._before:
                signal.signal(number, self._keep)
        try:
            yield self
        finally:
            self._put_back()

    def end(self) -> None:
        """Raises KeyboardInterrupt for Ctrl-C, else SystemExit with the exit status of shells for the signal."""
        self._put_back()
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        if self.asked is not None or self._patient:  # another process of the job was asked
            raise SystemExit(128 + (self.asked or signal.SIGTERM))

    def said(self, step: int, steps: int) -> str:
        """The message that is shown when the checkpoint is written."""
        name = "Ctrl-C" if self.asked == signal.SIGINT else signal.Signals(self.asked or signal.SIGTERM).name
        return (
            f"stopped by {name} after step {step:,} of {steps:,}, which is saved: run the same command to resume"
        )

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        if not self._patient:
            self._put_back()

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}


def _is_usual(handler: Any) -> bool:
    """Whether a handler is that of Python or of megalabel's command line, not one of the program's own."""
    return handler in (signal.SIG_DFL, signal.default_int_handler) or getattr(handler, "is_default", False)
