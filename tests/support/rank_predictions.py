"""Predictions that tests run in several processes by `ranks.py`, and one that is killed."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import megalabel
import megalabel.inference.label_sharded
import megalabel.inference.predict_parts
import megalabel.models.linear
import megalabel.training.run_lock  # the command imports these when it runs
from megalabel.cli.main import main
from megalabel.distributed.world import World


def command(world: World, *arguments: list[str]) -> tuple[int, str]:
    """Exit status and standard error of `megalabel`; the last arguments serve all further processes."""
    sys.argv = ["megalabel", *arguments[min(world.rank, len(arguments) - 1)]]
    with contextlib.redirect_stderr(io.StringIO()) as errors:
        try:
            main()
            status = 0
        except SystemExit as stop:
            status = int(stop.code or 0)
    lines = errors.getvalue().splitlines()
    return status, "\n".join(line for line in lines if not line.startswith("predicting"))  # of slow machines


def killed(world: World, arguments: list[str], after: int) -> int:
    """The exit code of a process that is killed when it reads the text of this number."""
    child = os.fork()
    if child == 0:
        from megalabel.cli.predict_request import Request

        read = Request.rows

        def rows(*given: object) -> Iterator[object]:
            for n, row in enumerate(read(*given)):
                if n == after:
                    os.kill(os.getpid(), signal.SIGKILL)
                yield row

        Request.rows = rows
        command(world, arguments)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def warm_up() -> None:
    """Loads the compiled code of predictions by label trees."""
    megalabel.load(Path(__file__).parents[1] / "data" / "v0.1.0" / "linear" / "run").topk(["w1a"], 1)
