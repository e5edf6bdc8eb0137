"""Runs the command line in a separate process: as the installed script and as a module."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Equivalent to the installed script; -P, since the search path of a script does not begin with the working folder.
SCRIPT = [sys.executable, "-P", "-c", "from megalabel.cli.main import main; main()"]
MODULE = [sys.executable, "-m", "megalabel"]


def started(program: list[str], *arguments: str, folder: Path) -> subprocess.Popen[str]:
    """The program in a working folder, with the megalabel of this repository."""
    return subprocess.Popen(
        [*program, *arguments],
        cwd=folder, env={**os.environ, "PYTHONPATH": str(ROOT)}, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def ran(program: list[str], *arguments: str, folder: Path) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of the program, once it has ended."""
    process = started(program, *arguments, folder=folder)
    out, err = process.communicate()
    return process.returncode, out, err
