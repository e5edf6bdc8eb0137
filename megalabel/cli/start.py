"""The entry point of the command line, which Ctrl-C ends without a traceback from its first moment to its last."""

from __future__ import annotations

import os
import signal
import sys
from types import FrameType

MESSAGE = "\nmegalabel: interrupted\n"


def main() -> None:
    """Runs the command line; before and after it nothing is under way that Ctrl-C would have to keep."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else a shell switched it off
    if usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from megalabel.cli.main import main as run

    try:
        if usual:
            signal.signal(signal.SIGINT, interrupt)
        run()
    except SystemExit as stop:
        from megalabel.cli.streams import of_several

        if stop.code and of_several():  # a failed job must not wait for processes that do not answer
            sys.stderr.flush()
            os._exit(stop.code if isinstance(stop.code, int) else 1)
        raise
    except KeyboardInterrupt:  # outside of the command, which has its own words for it
        sys.stderr.write(MESSAGE)
        sys.exit(130)
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def interrupt(number: int, frame: FrameType | None) -> None:
    """The handler of SIGINT: raises KeyboardInterrupt, or ends the process at once while a module is imported.

    Compiled modules drop exceptions that are raised while they import others. The command would go on with modules
    that were imported in part.
    """
    while frame is not None:
        if frame.f_code.co_filename.startswith("<frozen importlib"):
            sys.stderr.write(MESSAGE)
            sys.stderr.flush()
            os._exit(130)
        frame = frame.f_back
    raise KeyboardInterrupt


interrupt.is_default = True  # type: ignore[attr-defined]  # a training may replace it; see training/interrupts.py
