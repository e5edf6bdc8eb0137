"""The runtime in an environment of its own: cold starts, installed size, one text at a time, scores.

    python benchmarks/runtime.py RUN… [--starts 100]

Builds the wheel of `runtime/`, installs it into an empty environment, and exports each run. Rows:

- "installed": the bytes beside Python; "file": those of the exported model;
- "cold": from the start of a process to its first answer and its end, `python -m megalabel_runtime`, with a warm
  page cache; "floor": `python -c pass`, in turns with it. Milliseconds of the wall clock, and of the CPU, which
  other jobs on the machine change less;
  "library": the same by `megalabel.load(RUN)`, five times;
- "warm": one text at a time in a process that has loaded the model, beside `megalabel.load(RUN).topk`, one thread;
  "plain": without the compiled part, 50 texts;
- "largest difference" of the scores of the ten best labels from those of the library, relative to the larger of 1
  and the score, and "rankings that differ", on test texts of the run's data set.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

import numpy as np
from record import row

import megalabel
from megalabel.cli.arguments import open_data_of
from megalabel.exporting.export import export

ROOT = Path(__file__).parents[1]
K, TEXTS, FEW, LIBRARY_STARTS = 10, 500, 50, 5
LIBRARY = (
    "import megalabel, sys; print(megalabel.load(sys.argv[1], device='cpu').predict([sys.stdin.readline()], 5))"
)
WARM = """
import json, sys, time
if sys.argv[2] == "plain":
    sys.modules["megalabel_runtime._fast"] = None
from megalabel_runtime import load
model, texts, taken, found = load(sys.argv[1]), json.load(sys.stdin), [], []
for text in texts:
    begun = time.perf_counter()
    found.append(model.topk([text], 10))
    taken.append(time.perf_counter() - begun)
json.dump({"seconds": taken, "ids": [f.ids[0] for f in found], "scores": [f.scores[0] for f in found]}, sys.stdout)
"""


def environment(folder: Path) -> tuple[str, float]:
    """The Python of an empty environment with the runtime, and the bytes that this takes."""
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run(
        [*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", folder / "wheel", ROOT / "runtime"], check=True
    )
    venv.create(folder / "venv", with_pip=False)
    python = folder / "venv" / "bin" / "python"
    wheel = next((folder / "wheel").glob("*.whl"))
    subprocess.run([*pip, "--python", python, "install", "--no-deps", wheel], check=True)
    package = next((folder / "venv").rglob("megalabel_runtime"))
    files = [file for part in package.parent.glob("megalabel_runtime*") for file in part.rglob("*")]
    return str(python), sum(file.stat().st_size for file in files if file.is_file())


def started(command: list[str], text: str) -> tuple[float, float]:
    """Wall-clock and CPU milliseconds of a process."""
    begun = time.perf_counter()
    child = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert child.stdin is not None
    child.stdin.write(f"{text}\n".encode())
    child.stdin.close()
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = status
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}")
    return 1e3 * (time.perf_counter() - begun), 1e3 * (usage.ru_utime + usage.ru_stime)


def percentiles(size: str, what: str, values: list[float], unit: str) -> None:
    ordered = sorted(values)
    for name, at in (("p50", 0.5), ("p95", 0.95)):
        row("runtime", size, f"{what} {name}", ordered[min(len(ordered) - 1, int(at * len(ordered)))], unit)


def cold(python: str, size: str, run: Path, file: Path, text: str, starts: int) -> None:
    found: dict[str, list[tuple[float, float]]] = {"floor": [], "cold": []}
    commands = {"floor": [python, "-c", "pass"], "cold": [python, "-m", "megalabel_runtime", str(file), "-k", "5"]}
    for command in commands.values():
        started(command, text)
    for _ in range(starts):
        for name, command in commands.items():
            found[name].append(started(command, text))
    library = [sys.executable, "-c", LIBRARY, str(run)]
    found["library"] = [started(library, text) for _ in range(LIBRARY_STARTS)]
    for name, pairs in found.items():
        percentiles(size, f"{name}, wall", [wall for wall, _ in pairs], "ms")
        percentiles(size, f"{name}, CPU", [cpu for _, cpu in pairs], "ms")


def answers(python: str, file: Path, texts: list[str], operations: str) -> dict[str, list]:
    """Seconds, ids and scores of each text, one at a time in a process of the runtime."""
    command = [python, "-c", WARM, file, operations]
    done = subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def warm(python: str, size: str, run: Path, file: Path, texts: list[str]) -> None:
    model = megalabel.load(run, device="cpu")
    answered, plain = answers(python, file, texts, "compiled"), answers(python, file, texts[:FEW], "plain")
    model.topk(texts[:1], K)
    ids, scores, taken = [], [], []
    for text in texts:
        begun = time.perf_counter()
        labels, values = model.topk([text], K).numpy()
        taken.append(time.perf_counter() - begun)
        ids.append(labels[0].tolist())
        scores.append(values[0])
    percentiles(size, "warm, runtime", [1e6 * s for s in answered["seconds"]], "µs")
    percentiles(size, "warm, plain", [1e6 * s for s in plain["seconds"]], "µs")
    percentiles(size, "warm, library", [1e6 * s for s in taken], "µs")
    medians = statistics.median(taken), statistics.median(answered["seconds"])
    row("runtime", size, "warm, library / runtime", medians[0] / medians[1], "times")
    gaps = [
        float(
            (np.abs(np.array(own) - theirs[: len(own)]) / np.maximum(1, np.abs(theirs[: len(own)]))).max(initial=0)
        )
        for own, theirs in zip(answered["scores"], scores, strict=True)
    ]
    row("runtime", size, "largest difference", max(gaps), "")
    different = sum(own != theirs[: len(own)] for own, theirs in zip(answered["ids"], ids, strict=True))
    row("runtime", size, "rankings that differ", 100 * different / len(texts), "%")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--starts", type=int, default=100)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        python, installed = environment(Path(scratch))
        row("runtime", "megalabel-runtime", "installed", installed / 1e6, "MB")
        for run in arguments.runs:
            corpus, file = open_data_of(run, None), Path(scratch) / f"{run.name}.mlr"
            facts = json.loads((run / "recipe.json").read_text())
            size = f"{corpus.name} {facts['recipe']}"
            row("runtime", size, "file", export(megalabel.load(run, device="cpu"), file) / 1e6, "MB")
            texts = list(corpus.test.texts[:TEXTS])
            cold(python, size, run, file, texts[0], arguments.starts)
            warm(python, size, run, file, texts)


if __name__ == "__main__":
    main()
