"""Distilled models beside the runs that they replace: accuracy, bytes and time, on test texts.

    python benchmarks/distill.py RUN… [--size 0.1]

Distills each run with the options of `megalabel distill`, exports the result and answers test texts one at a time:
the run by the library, the distilled model by the runtime, both on one thread of this process, which needs the
compiled runtime (`pip install ./runtime`). Nothing is chosen here; the options were chosen on held-out training
texts (docs/log.md).
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import torch
from record import row

import megalabel
from megalabel.cli.arguments import open_data_of
from megalabel.exporting.export import export
from megalabel.models.find import model_folder
from megalabel.recipes.distill import distill
from megalabel.recipes.distilling import folder_bytes
from megalabel.runtime import load
from megalabel.runtime.kernels import chosen
from megalabel.runtime.plain import Plain

TEXTS, K = 300, 5
METRICS = ("P@1", "P@3", "P@5", "nDCG@5", "PSP@5")


def one_at_a_time(answer, texts: list[str]) -> float:
    """The median microseconds of an answer to one text."""
    answer(texts[:1])
    taken = []
    for text in texts:
        begun = time.perf_counter()
        answer([text])
        taken.append(time.perf_counter() - begun)
    return 1e6 * statistics.median(taken)


def measured(run: Path, fraction: float) -> None:
    corpus = open_data_of(run, None)
    whole, texts = megalabel.load(run, device="cpu"), list(corpus.test.texts[:TEXTS])
    recipe = json.loads((run / "recipe.json").read_text())["recipe"]
    size = f"{corpus.name} {recipe}, at most {fraction:.0%} of the bytes"
    with tempfile.TemporaryDirectory() as scratch:
        begun = time.process_time()
        small = megalabel.train(distill(corpus, run=str(run), size=fraction), Path(scratch) / "run", device="cpu")
        row("distill", size, "training, CPU s", time.process_time() - begun, "s")
        n_bytes = folder_bytes(model_folder(run)), export(small, Path(scratch) / "model.mlr")
        exported = load(Path(scratch) / "model.mlr")
        took = [one_at_a_time(lambda t, m=model: m.topk(t, K), texts) for model in (whole, exported)]
    found = [megalabel.evaluate(model, corpus) for model in (whole, small)]
    for metric in METRICS:
        for name, metrics in zip(("run", "distilled"), found, strict=True):
            row("distill", size, f"{name}, {metric}", metrics[metric], "%")
        row("distill", size, f"distilled / run, {metric}", 100 * found[1][metric] / found[0][metric], "%")
    for name, i in (("run", 0), ("distilled", 1)):
        row("distill", size, f"{name}, model", n_bytes[i] / 1e6, "MB")
        row("distill", size, f"{name}, one text", took[i], "µs")
    row("distill", size, "distilled / run, bytes", 100 * n_bytes[1] / n_bytes[0], "%")
    row("distill", size, "distilled / run, one text", 100 * took[1] / took[0], "%")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--size", type=float, default=0.1)
    arguments = parser.parse_args()
    if chosen is Plain:
        sys.exit("the compiled runtime is not installed: pip install ./runtime")
    torch.set_num_threads(1)
    for run in arguments.runs:
        measured(run, arguments.size)


if __name__ == "__main__":
    main()
