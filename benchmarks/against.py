"""Compares the CPU time of benchmark steps between this checkout and another one, in alternation.

    python benchmarks/against.py OTHER_CHECKOUT [dense_head beam ...] [--rounds 40] [--no-record]

OTHER_CHECKOUT is another working tree of this repository, such as one made by `git worktree add`. Both checkouts
run `benchmarks/steps.py` in separate processes, on one thread, with this Python. The two processes take turns
step by step, since the speed of a shared machine changes within seconds; the median of the ratios of all rounds
is reported, with its quartiles. A ratio above 1 means that this checkout is slower.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import record
from steps import BENCHMARKS

from megalabel.metrics.table import table

HERE = Path(__file__).resolve().parents[1]
LEAST, LONGEST = 5, 60.0  # rounds, and seconds of one step's rounds in one checkout


class Worker:
    """A process that runs steps of one benchmark in one checkout."""

    def __init__(self, checkout: Path, benchmark: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(checkout / "benchmarks" / "steps.py"), benchmark],
            cwd=checkout,
            env=os.environ | {"PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.names: list[str] = json.loads(self._answer())

    def seconds(self, name: str) -> float:
        """CPU seconds of one step."""
        assert self.process.stdin is not None
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        return float(self._answer())

    def _answer(self) -> str:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.process.args} ended with status {self.process.wait()}")
        return line

    def close(self) -> None:
        """Ends the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def compare(benchmark: str, other: Path, rounds: int) -> dict[str, np.ndarray]:
    """Seconds (2, rounds) of each step, those of the other checkout first."""
    workers = Worker(other, benchmark), Worker(HERE, benchmark)
    found = {}
    for name in workers[1].names:
        if name not in workers[0].names:
            continue
        taken: list[list[float]] = [[], []]
        while len(taken[0]) < rounds and (len(taken[0]) < LEAST or sum(taken[0]) < LONGEST):
            first = len(taken[0]) % 2  # the order alternates, so that caches and clocks favor neither
            for i in (first, 1 - first):
                taken[i].append(workers[i].seconds(name))
        found[name] = np.array(taken)
    for worker in workers:
        worker.close()
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("other", type=Path)
    parser.add_argument("benchmarks", nargs="*", default=list(BENCHMARKS))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--no-record", action="store_true")
    given = parser.parse_args()
    other = given.other.resolve()
    commit = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"], cwd=other, check=True, capture_output=True, text=True
    ).stdout.strip()
    rows = []
    for benchmark in given.benchmarks:
        for name, (theirs, ours) in compare(benchmark, other, given.rounds).items():
            low, ratio, high = np.quantile(ours / theirs, [0.25, 0.5, 0.75])
            values = {
                "other, ms": f"{1e3 * np.median(theirs):.3g}",
                "this, ms": f"{1e3 * np.median(ours):.3g}",
                "ratio": f"{ratio:.3f}",
                "quartiles": f"{low:.3f} to {high:.3f}",
                "rounds": len(ours),
            }
            rows.append((f"{benchmark}: {name}", values))
            if not given.no_record:
                record.row("against", benchmark, name, float(ratio), f"of the CPU time at {commit}")
    print(f"{record.machine()}; this checkout {record.commit()} beside {commit}")
    print(table(rows, list(rows[0][1]), title="CPU time of a step"))


if __name__ == "__main__":
    main()
