"""Searches of `megalabel train auto` on real data sets: scores on the test side, time, and what was chosen.

    python benchmarks/auto.py bundled:wordnet-4k DATA/gutenberg-4k --minutes 20 --seeds 0 1 2
    python benchmarks/auto.py DATA/eurlex-4.3k --minutes 20 --threads 1

Nothing but the time is set: no preset, no name of a data set, no option of a recipe. The test side is read for the
scores of the chosen model alone, also of its answers with the tail knob where held-out texts set it. Seconds are
wall-clock seconds of the whole search with its last training, CPU seconds are user and system time; compare them
with those of `benchmarks/rivals/` on the same day.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

from chosen_tail import at_chosen_tail
from data_sets import opened, set_name
from quality import command, measured
from record import row

from megalabel import load

METRICS = ("P@1", "P@3", "P@5", "PSP@1", "PSP@5")


def search(data: str, minutes: float, threads: int, seed: int, keep: Path | None) -> tuple[dict[str, float], str]:
    """Scores and seconds of one search, and the recipe that it chose."""
    with tempfile.TemporaryDirectory() as scratch:
        out = (keep or Path(scratch)) / f"{set_name(data)}-auto-{seed}"
        given = ["--minutes", str(minutes), "--threads", str(threads), "--seed", str(seed)]
        wall, cpu, peak = measured([*command(), "train", "auto", data, "--out", str(out), *given])
        measured([*command(), "evaluate", str(out), data])
        scores = json.loads((out / "metrics.json").read_text())
        chosen = json.loads((out / "recipe.json").read_text())["recipe"]
        size = sum(file.stat().st_size for file in (out / "model").rglob("*") if file.is_file()) / 1e6
        figures = {metric: float(scores[metric]) for metric in METRICS} | at_chosen_tail(load(out), opened(data))
    return figures | {"train s": wall, "train CPU s": cpu, "peak MB": peak, "model MB": size}, chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--keep", type=Path, help="folder in which the searches stay")
    given = parser.parse_args()
    for data in given.data:
        for seed in given.seeds:
            found, chosen = search(data, given.minutes, given.threads, seed, given.keep)
            size = f"{set_name(data)}, {given.minutes:g} min, threads: {given.threads}, seed {seed}"
            print(size, ", ".join(f"{name} {value:.2f}" for name, value in found.items()), chosen, flush=True)
            for metric, value in found.items():
                row("auto", size, metric, value, "%" if "@" in metric else metric.split()[-1])
            row("auto", size, "chosen", chosen, "")


if __name__ == "__main__":
    main()
