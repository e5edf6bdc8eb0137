"""Runs the core tests under several Pythons and sets of dependencies: python scripts/matrix.py 3.11 3.12 3.13.

For each Python, which `uv` has to find, and for the newest packages that can be installed and the oldest that
pyproject.toml allows, an environment is made, the core tests run in it, and a line is printed. Packages without a
wheel for a Python are left to newer versions. What follows `--` is passed to `uv pip install`, such as
`-- --torch-backend cpu`, without which PyTorch comes with CUDA.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
SETS = {"newest": "highest", "oldest": "lowest-direct"}
EXTRAS = ("annif", "index", "report", "serve", "sklearn", "test")
SHOWN = ("torch", "transformers", "numpy", "scipy", "numba", "pyarrow")
# Old packages warn of what newer ones below them call deprecated, which says nothing about megalabel.
QUIET = [f"-Wignore::{kind}" for kind in ("DeprecationWarning", "FutureWarning", "PendingDeprecationWarning")]
ASKED = """
import json, platform, sys
from importlib.metadata import version
print(json.dumps([platform.python_version(), *map(version, sys.argv[1:])]))
"""


class Outcome(NamedTuple):
    """What a combination came to: versions of Python and packages, counts of tests, whether all passed."""

    versions: str
    counts: str
    passed: bool


def run(folder: Path, python: str, packages: str, options: list[str]) -> Outcome:
    """Makes an environment in `folder` and runs the core tests in it; what both print is in `folder`/log.txt."""
    with open(folder / "log.txt", "w", encoding="utf-8") as log:

        def call(*arguments: str | Path, **environment: str) -> bool:
            variables = {**os.environ, **environment}
            done = subprocess.run(
                arguments, cwd=ROOT, env=variables, stdout=log, stderr=subprocess.STDOUT, check=False
            )
            return done.returncode == 0

        found = folder / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"
        install = ["uv", "pip", "install", "--python", found, "-r", "pyproject.toml"]
        install += ["--resolution", SETS[packages], "--no-build"]
        extras = [option for name in EXTRAS for option in ("--extra", name)]
        if not (call("uv", "venv", "--python", python, folder / "venv") and call(*install, *extras, *options)):
            return Outcome(f"{python} {packages}", f"cannot be installed: {folder / 'log.txt'}", False)
        asked = subprocess.run([found, "-c", ASKED, *SHOWN], capture_output=True, encoding="utf-8", check=True)
        names = zip(("Python", *SHOWN), json.loads(asked.stdout), strict=True)
        tests = [found, "-m", "pytest", "-p", "no:cacheprovider", "-m", "not slow", "@tests/core.txt"]
        passed = call(
            *tests, *(QUIET if packages == "oldest" else []), PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1",
            PYTHONPYCACHEPREFIX=str(folder / "cache"), NUMBA_CACHE_DIR=str(folder / "cache"), HF_HUB_OFFLINE="1",
        )  # fmt: skip
    counts = re.findall(r"\d+ (?:passed|failed|skipped|errors?)", (folder / "log.txt").read_text(encoding="utf-8"))
    return Outcome(", ".join(map(" ".join, names)), ", ".join(counts[-4:]), passed)


def main() -> int:
    parser = argparse.ArgumentParser(description="Run the core tests under several Pythons and sets of packages.")
    parser.add_argument("pythons", nargs="+", help="versions or paths of interpreters")
    parser.add_argument("--packages", nargs="+", choices=SETS, default=list(SETS), help="which sets of packages")
    parser.add_argument("--keep", type=Path, help="a folder in which the environments and logs are kept")
    own = sys.argv[1:].index("--") if "--" in sys.argv[1:] else None
    given = parser.parse_args(sys.argv[1:][:own])
    options = [] if own is None else sys.argv[1:][own + 1 :]
    passed = True
    for python in given.pythons:
        for packages in given.packages:
            with tempfile.TemporaryDirectory() as scratch:  # one environment at a time: each takes gigabytes
                folder = Path(scratch) if given.keep is None else given.keep / f"{Path(python).name}-{packages}"
                folder.mkdir(parents=True, exist_ok=True)
                start = time.monotonic()
                outcome = run(folder, python, packages, options)
                if not outcome.passed and given.keep is None:
                    print((folder / "log.txt").read_text(encoding="utf-8")[-4000:])
            minutes = (time.monotonic() - start) / 60
            word = "passed" if outcome.passed else "FAILED"
            print(f"{word}: {packages}; {outcome.versions}; {outcome.counts}; {minutes:.1f} minutes", flush=True)
            passed &= outcome.passed
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
