"""What an encoder that `ngame` trained is worth to `renee`: the same recipe with and without it, on the test side.

    python benchmarks/ngame.py DATA/wordnet DATA/debian-deps --seeds 0 1 2
    python benchmarks/ngame.py bundled:wordnet-4k --encoder minilm --ngame epochs=3 --renee epochs=5

Per seed it trains `renee` with the committed preset of the data set and encoder, `ngame` with its own, and `renee`
from the encoder of that run (`--encoder RUN`) with the same values as before. `--ngame` and `--renee` set other
values. Nothing is selected here. Rows hold means and standard deviations over the seeds, and of the differences
per seed.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from data_sets import opened, set_name
from record import row

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.recipes import from_preset, get

METRICS = ("P@1", "P@3", "P@5", "PSP@1", "PSP@5")
KINDS = ("renee", "ngame", "ngame, renee")


def measured(corpus: Corpus, folder: Path, seed: int, encoder: str, ngame: dict, renee: dict) -> dict[str, Any]:
    """The metrics and CPU seconds of the three runs of a seed."""
    found = {}
    for kind in KINDS:
        recipe, begun = kind.rpartition(" ")[2], time.process_time()
        start = str(folder / "ngame") if kind == "ngame, renee" else encoder
        values = ngame if recipe == "ngame" else renee
        model = megalabel.train(
            from_preset(recipe, corpus, encoder=start, seed=seed, **values), folder / kind, quiet=True
        )
        seconds = time.process_time() - begun
        scores = megalabel.evaluate(model, corpus)
        found[kind] = {**{metric: scores[metric] for metric in METRICS}, "CPU s": seconds}
        print(f"{corpus.name}, seed {seed}, {kind}:", {k: round(v, 2) for k, v in found[kind].items()}, flush=True)
    return found


def record(data: str, encoder: str, found: list[dict[str, Any]]) -> None:
    """Rows of means and standard deviations, and of the gain."""
    for kind in KINDS:
        for metric in (*METRICS, "CPU s"):
            values = [one[kind][metric] for one in found]
            _rows(f"{set_name(data)} {kind}, {encoder}, {len(found)} seeds", metric, values)
    for metric in METRICS:
        gains = [one["ngame, renee"][metric] - one["renee"][metric] for one in found]
        _rows(f"{set_name(data)} gain by ngame, {encoder}, {len(found)} seeds", metric, gains)


def _rows(size: str, metric: str, values: list[float]) -> None:
    unit = "s" if metric == "CPU s" else "%"
    row("ngame", size, metric, statistics.mean(values), unit)
    if len(values) > 1:
        row("ngame", size, f"{metric} ±", statistics.stdev(values), unit)


def values_of(recipe: str, given: list[str]) -> dict[str, Any]:
    """Values of options such as epochs=3 or doublings=1,2."""
    pairs = [one.partition("=") for one in given]
    return {name: get(recipe).options.declared[name].parse(value) for name, _, value in pairs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--encoder", default="bag")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--ngame", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--renee", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--keep", type=Path, help="a folder for the runs, which are used again if they are there")
    given = parser.parse_args()
    ngame, renee = values_of("ngame", given.ngame), values_of("renee", given.renee)
    for data in given.data:
        corpus = opened(data)
        found = []
        for seed in given.seeds:
            with tempfile.TemporaryDirectory() as scratch:
                folder = (given.keep or Path(scratch)) / f"{set_name(data)}-{given.encoder}-{seed}"
                found.append(measured(corpus, folder, seed, given.encoder, ngame, renee))
        record(data, given.encoder, found)


if __name__ == "__main__":
    main()
