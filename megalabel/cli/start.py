"""The entry point of the command line, which Ctrl-C ends without a traceback from its first moment to its last."""

from __future__ import annotations

import signal
import sys


def main() -> None:
    """Runs the command line; before and after it nothing is under way that Ctrl-C would have to keep."""
    usual = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else a shell switched it off
    if usual:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from megalabel.cli.main import main as run

    try:
        if usual:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        run()
    except KeyboardInterrupt:  # outside of the command, which has its own words for it
        sys.stderr.write("\nmegalabel: interrupted\n")
        sys.exit(130)
    finally:
        if usual:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
