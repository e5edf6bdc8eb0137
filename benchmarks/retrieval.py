"""Accuracy and time per text of hybrids with and without search, of refits, and of the recipe retrieval.

    python benchmarks/retrieval.py DATA/wordnet-4k RUNS/wordnet-4k DATA/metamath RUNS/metamath

Pairs of a data set and a finished run with an encoder and held-out texts. Each variant is trained with the preset
of the set, and measured on the test set:

- "retrieval": the recipe of this name, without a run;
- "mixture": `--merge mixture`, calibrated scores with weights, as hybrids were before;
- "boosted": `--merge boosted --neighbors no`, boosted trees over rankings and labels that occur together;
- "neighbors": `--neighbors yes`, the nearest texts and label documents correct the word trees, and boosted trees
  merge the rankings if they gain;
- "auto": the defaults;
- "mixture, refit" and "neighbors, refit": the same with `--refit`.

"µs/text" is the CPU time of `topk(texts, 5)` for the test texts (2,000 at most) in one call on one thread, from
raw texts; "one text µs" that of calls with one text, 200 times. All variants take turns seven times, and the
fastest turn counts, since another load on the machine only ever adds time.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from typing import Any

import record  # first, as it decides how threads wait
import torch
from data_sets import opened, set_name

import megalabel
from megalabel.metrics.table import METRICS
from megalabel.models.base import Classifier
from megalabel.recipes import from_preset

VARIANTS: dict[str, dict[str, Any]] = {
    "mixture": {"merge": "mixture"},
    "boosted": {"merge": "boosted", "neighbors": "no"},
    "neighbors": {"neighbors": "yes"},
    "auto": {},
    "mixture, refit": {"merge": "mixture", "refit": True},
    "neighbors, refit": {"neighbors": "yes", "refit": True},
}
TIMED, ONES, TURNS = 2000, 200, 7


def timed(models: dict[str, Classifier], texts: Sequence[str]) -> dict[str, dict[str, float]]:
    """CPU microseconds per text by model, in one batch and one by one."""
    some, few = texts[: min(TIMED, len(texts))], min(ONES, len(texts))
    found: dict[str, dict[str, float]] = {name: {} for name in models}
    for _ in range(TURNS):
        for name, model in models.items():
            ones = cpu(model, [texts[i : i + 1] for i in range(few)]) / few
            for metric, seconds in (("µs/text", cpu(model, [some]) / len(some)), ("one text µs", ones)):
                found[name][metric] = min(found[name].get(metric, float("inf")), 1e6 * seconds)
    return found


def cpu(model: Classifier, calls: Sequence[Sequence[str]]) -> float:
    """CPU seconds of some calls."""
    begun = time.process_time()
    for texts in calls:
        model.topk(texts, 5)
    return time.process_time() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="DATA RUN")
    parser.add_argument(
        "--variants", nargs="+", choices=["retrieval", *VARIANTS], default=["retrieval", *VARIANTS]
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for source, run in zip(arguments.pairs[::2], arguments.pairs[1::2], strict=True):
        data, name, models = opened(source), set_name(source), {}
        scores, seconds = {}, {}
        for variant in arguments.variants:
            recipe = "retrieval" if variant == "retrieval" else "hybrid"
            options = {} if variant == "retrieval" else {**VARIANTS[variant], "run": run}
            begun = time.process_time()
            models[variant] = from_preset(recipe, data, **options).solve(print)
            seconds[variant] = time.process_time() - begun
            scores[variant] = megalabel.evaluate(models[variant], data)
            print(f"{name} {variant}", {m: round(scores[variant][m], 2) for m in METRICS}, flush=True)
        for variant, times in timed(models, data.test.texts).items():
            size = name + (" retrieval" if variant == "retrieval" else f" hybrid, {variant}")
            for metric in METRICS:
                record.row("retrieval", size, metric, float(scores[variant][metric]), "%")
            record.row("retrieval", size, "solve CPU s", seconds[variant], "s")
            for metric, value in times.items():
                record.row("retrieval", size, metric, value, "µs")
            print(size, {metric: round(value) for metric, value in times.items()}, flush=True)


if __name__ == "__main__":
    main()
