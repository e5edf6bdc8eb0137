"""Ctrl-C and SIGTERM during training: the step at work is finished and kept, then the process ends as asked."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))


class Interrupts:
    """The signal that asked the training to end, if one did.

    Attributes:
        asked: its number; None as long as there was none.
    """

    def __init__(self) -> None:
        self.asked: int | None = None
        self._before: dict[int, Any] = {}

    @contextlib.contextmanager
    def waiting(self) -> Iterator[Interrupts]:
        """Within the block, the first of these signals is kept in `asked`; a second one acts at once.

        Only where the block runs in the main thread, and for signals that the program has not taken over or
        switched off (as `nohup` does SIGHUP).
        """
        usual = (signal.SIG_DFL, signal.default_int_handler)
        if threading.current_thread() is threading.main_thread():
            self._before = {n: signal.getsignal(n) for n in SIGNALS if signal.getsignal(n) in usual}
            for number in self._before:
                signal.signal(number, self._keep)
        try:
            yield self
        finally:
            self._put_back()

    def end(self) -> None:
        """Raises KeyboardInterrupt for Ctrl-C, else SystemExit with the status that shells give for the signal."""
        self._put_back()
        if self.asked == signal.SIGINT:
            raise KeyboardInterrupt
        if self.asked is not None:
            raise SystemExit(128 + self.asked)

    def said(self, step: int, steps: int) -> str:
        """What is shown when the checkpoint is written."""
        name = "Ctrl-C" if self.asked == signal.SIGINT else signal.Signals(self.asked or 0).name
        return (
            f"stopped by {name} after step {step:,} of {steps:,}, which is kept: the same command goes on from it"
        )

    def _keep(self, number: int, frame: FrameType | None) -> None:
        self.asked = number
        self._put_back()

    def _put_back(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        self._before = {}
