"""Runs that are killed at random steps, and whether they end with the weights of a run that is not.

The runs are forked from a process that has imported everything, which takes longer than the runs themselves.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from megalabel.storage.tensors import load_tensors

GO = Path(__file__).parents[1] / "training" / "go.py"


class Runs:
    """A process that forks runs."""

    def __init__(self, process: subprocess.Popen, errors: Path) -> None:
        self._process, self._errors = process, errors

    def go(self, out: Path, killed_at: int, arguments: dict[str, Any]) -> int:
        """The exit code of a run, which is killed after a step; -1 for none."""
        assert self._process.stdin and self._process.stdout
        print(json.dumps([str(out), killed_at, arguments]), file=self._process.stdin, flush=True)
        code = self._process.stdout.readline()
        assert code.strip() in ("0", "-9"), self._errors.read_text()
        return int(code)


@contextmanager
def started(folder: Path, *, warm: bool = True) -> Iterator[Runs]:
    """A process that forks runs, and ends with the context; `folder` holds what it writes to standard error.

    warm: whether it does a run of each recipe itself before it forks others, which saves them most of their time.
    """
    with (folder / "stderr").open("w") as errors:
        process = subprocess.Popen(
            [sys.executable, str(GO), *(["warm"] if warm else [])], env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True,
        )  # fmt: skip
        with process:
            yield Runs(process, folder / "stderr")


def check_same(whole: Path, killed: Path) -> None:
    """Compares the models of two runs, byte by byte."""
    for name in ("encoder", "head"):
        ours, theirs = (
            load_tensors(run / "model" / f"{name}.safetensors", next_step="-") for run in (whole, killed)
        )
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert torch.equal(*(found[key].reshape(-1).view(torch.uint8) for found in (ours, theirs))), key


def check_killed(
    go: Callable[[Path, int, dict[str, Any]], int],
    folder: Path,
    arguments: dict[str, Any],
    rng: np.random.Generator,
) -> None:
    """Kills a run three times, and compares it with one that is not killed, byte by byte.

    go: trains in another process; see `Runs.go`.
    """
    assert go(folder / "whole", -1, arguments) == 0
    steps = json.loads((folder / "whole" / "recipe.json").read_text())["finished"]["steps"]
    for step in sorted(rng.choice(int(steps) - 2, size=3, replace=False) + 1):
        assert go(folder / "killed", int(step), arguments) == -9
    assert go(folder / "killed", -1, arguments) == 0
    check_same(folder / "whole", folder / "killed")
    lines = [json.loads(line) for line in (folder / "killed" / "log.jsonl").read_text().splitlines()]
    steps_logged = [line["step"] for line in lines if "validation" not in line]
    assert steps_logged == sorted(steps_logged)
