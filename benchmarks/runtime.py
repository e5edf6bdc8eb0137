"""The runtime without torch: from the start of a process to the first answer, and the installed size.

    python benchmarks/runtime.py MODEL.mlr [MODEL.mlr ...]

The runtime is installed from `runtime/` into an environment of its own. Starts of Python alone and with an answer
take turns; files are in the page cache.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
import time
import venv
from pathlib import Path

import numpy as np
import record

STARTS = 100
ANSWER = "from megalabel_runtime import load; print(load({model!r}).predict(['a stringed instrument'], k=5))"


def main() -> None:
    """Measures, and appends rows to benchmarks/results.csv."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("models", nargs="+", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="runtime-") as folder:
        venv.create(folder, with_pip=True)
        python = Path(folder) / "bin" / "python"
        source = Path(__file__).parents[1] / "runtime"
        subprocess.run([python, "-m", "pip", "install", "--quiet", source], check=True)
        package = next(Path(folder).rglob("megalabel_runtime"))
        size = sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) / 1e6
        for model in options.models:
            found = {
                "first answer: installed": (size, "MB"),
                "first answer: model": (model.stat().st_size / 1e6, "MB"),
            }
            alone, answer = starts(python, model)
            for name, times in (("Python alone", alone), ("first answer", answer)):
                found[f"{name}: p50"] = (float(np.percentile(times, 50)), "ms")
                found[f"{name}: p95"] = (float(np.percentile(times, 95)), "ms")
            for name, (value, unit) in found.items():
                print(f"{model.stem:12} {name:20} {value:10.2f} {unit}")
                record.row("runtime", f"{model.stem} starts={STARTS}", name, value, unit)


def starts(python: Path, model: Path) -> tuple[np.ndarray, np.ndarray]:
    """Milliseconds of processes that do nothing, and of those that load a model and answer, in turn."""
    codes = ["pass", ANSWER.format(model=str(model.absolute()))]
    times = np.zeros((STARTS + 2, 2))
    for i in range(len(times)):
        for j, code in enumerate(codes):
            begun = time.perf_counter()
            subprocess.run([python, "-I", "-c", code], check=True, stdout=subprocess.DEVNULL)
            times[i, j] = 1e3 * (time.perf_counter() - begun)
    return times[2:, 0], times[2:, 1]  # the first starts fill the page cache


if __name__ == "__main__":
    main()
