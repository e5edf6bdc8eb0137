"""Accuracy, time and memory of recipes on real data sets; each run is a separate process.

    python benchmarks/quality.py bundled:wordnet-4k DATA/gutenberg-4k DATA/metamath --encoders small bag
    python benchmarks/quality.py DATA/wordnet --recipe cascadexml --encoders bag
    python benchmarks/quality.py DATA/metamath --encoders bag --then hybrid --seeds 0 1 2 --label "hybrid, bag"
    python benchmarks/quality.py DATA/metamath --recipe linear --label words

Trains with the committed preset of each data set and encoder, evaluates on the test set, prints tables with the
recorded scores of other tools, and appends rows. Nothing is selected here: presets were tuned on a validation
split. Seconds are wall-clock seconds of the whole process, CPU seconds are user and system time, "peak MB" is the
peak resident size, "state MB" the memory of all weights and optimizer states (momentum, moments), and "head MB"
that of the head; MB are 10⁶ bytes.
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
from pathlib import Path

from data_sets import set_name
from record import row

from megalabel.metrics.table import METRICS


def measured(command: list[str]) -> tuple[float, float, float]:
    """Wall seconds, CPU seconds and peak MB of a command; its output is shown."""
    begun = time.monotonic()
    child = subprocess.Popen(command)
    _, status, usage = os.wait4(child.pid, 0)
    wall = time.monotonic() - begun
    if status:
        sys.exit(f"{' '.join(command)} ended with status {status}")
    unit = 1 if sys.platform == "darwin" else 1024
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * unit / 1e6


def run(data: str, recipe: str, label: str, options: list[str], seeds: list[int], keep: Path | None) -> None:
    found = []
    for seed in seeds:
        name = f"{label.replace(' ', '-')}-{seed}"
        found.append(trained(data, recipe, [*options, "--seed", str(seed)], keep=keep, name=name))
    size = f"{set_name(data)} {recipe} {label}" + (f", {len(seeds)} seeds" if len(seeds) > 1 else "")
    for metric in found[0]:
        values = [figures[metric] for figures in found]
        unit = "%" if "@" in metric or metric.startswith("recall") else metric.split()[-1]
        row("quality", size, metric, statistics.mean(values), unit)
        if len(seeds) > 1 and "@" in metric:
            row("quality", size, f"{metric} ±", statistics.stdev(values), unit)


def command() -> list[str]:
    """The command line of megalabel, in this environment."""
    return [sys.executable, "-m", "megalabel.cli.main"]


def trained(
    data: str, recipe: str, options: list[str], *, keep: Path | None = None, name: str = ""
) -> dict[str, float]:
    """Scores on the test set, seconds and megabytes of one training by the command line."""
    with tempfile.TemporaryDirectory() as scratch:
        out = (keep or Path(scratch)) / f"{set_name(data)}-{recipe}-{name}"
        base = command()
        wall, cpu, peak = measured([*base, "train", recipe, data, "--out", str(out), *options])
        predict, _, _ = measured([*base, "evaluate", str(out), data])
        found = json.loads((out / "metrics.json").read_text())
        stepped = out / "base" if (out / "base").is_dir() else out  # the neural run, of a hybrid that --then made
        facts = json.loads((stepped / "recipe.json").read_text())["finished"]
        recall = last_recall(stepped / "log.jsonl") if (stepped / "log.jsonl").exists() else {}
        size = sum(file.stat().st_size for file in (out / "model").rglob("*") if file.is_file()) / 1e6
    figures = {metric: float(found[metric]) for metric in METRICS}
    figures |= {"train s": wall, "train CPU s": cpu, "evaluate s": predict, "peak MB": peak, "model MB": size}
    if "weights_mb" in facts:  # a model that was stepped
        figures["state MB"] = facts["weights_mb"] + facts["optimizers_mb"]
        figures["head MB"] = facts["head_mb"]
        figures["peak over state MB"] = peak - figures["state MB"]
    return figures | recall


def last_recall(log: Path) -> dict[str, float]:
    """The shortlist recall of each level, if the head has levels, over the last tenth of the training."""
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    told = [line for line in lines if "recall level 0" in line]
    told = told[-max(len(told) // 10, 1) :] if told else []
    names = [name for name in (told[-1] if told else {}) if name.startswith("recall")]
    return {name: sum(line[name] for line in told) / len(told) for name in names}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--recipe", default="renee")
    parser.add_argument("--encoders", nargs="+", default=["small", "bag"], help="not for linear, which has none")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="a run each; their mean and deviation")
    parser.add_argument("--label", help="how the row is called; default: the encoder")
    parser.add_argument("--keep", type=Path, help="a folder for the runs; default: thrown away")
    arguments, options = parser.parse_known_args()
    for data in arguments.data:
        for encoder in ["words"] if arguments.recipe == "linear" else arguments.encoders:
            given = options if arguments.recipe == "linear" else ["--encoder", encoder, *options]
            run(data, arguments.recipe, arguments.label or encoder, given, arguments.seeds, arguments.keep)


if __name__ == "__main__":
    main()
