"""A model that learns further texts by `partial_fit`, beside the model before and a training on all texts.

    python benchmarks/further_texts.py bundled:wordnet-4k --recipes linear renee cascadexml spartex
    python benchmarks/further_texts.py DATA/gutenberg-4k --recipes linear renee

Trains with the committed preset of the recipe (encoder bag) on 80% of the training texts, learns the others, and
trains again on all of them; all three are evaluated on the test texts. "few labels" learns only those of the
other texts that have one of a twentieth of the labels, and evaluates test texts with and without these labels.
"ECE@5" is the calibration error of the model as it was calibrated before. CPU seconds are of `partial_fit`
alone, and of trainings whose runs are not there already.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from data_sets import opened, set_name
from record import row

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.data.subsets import rows_of
from megalabel.data.types import Split
from megalabel.metrics.calibration import reliability
from megalabel.metrics.ranking import measure
from megalabel.models.asking import inverse_propensities
from megalabel.models.base import Classifier
from megalabel.recipes import from_preset

SHARE, FEW = 0.8, 0.05
METRICS = ("P@1", "P@5", "PSP@5")


class Task(NamedTuple):
    """The first texts, all of them, the further ones, those of few labels, and which test texts have these."""

    first: Corpus
    whole: Corpus
    further: Corpus
    few: Corpus
    has_few: np.ndarray


def task(whole: Corpus, seed: int = 0) -> Task:
    """Divides the training texts by chance."""
    assert whole.test is not None
    random = np.random.default_rng(seed)
    order = random.permutation(len(whole.train))
    cut = int(SHARE * len(order))
    first, further = np.sort(order[:cut]), np.sort(order[cut:])
    few = random.choice(whole.n_labels, int(FEW * whole.n_labels), replace=False)
    own, tested = (np.diff(side.labels.tocsr()[:, few].indptr) > 0 for side in (whole.train, whole.test))

    def part(rows: np.ndarray) -> Corpus:
        side = rows_of(whole.train, rows)
        return Corpus.of(side.texts, side.labels, whole.label_texts, name=whole.name)

    return Task(part(first), whole, part(further), part(further[own[further]]), tested)


def scores(
    model: Classifier, test: Split, inverse: np.ndarray, rows: np.ndarray | None = None
) -> dict[str, float]:
    """The metrics of some test texts, and the calibration error where the model is calibrated."""
    side = test if rows is None else rows_of(test, np.flatnonzero(rows))
    top = model.topk(side.texts, 5, exclude=side.filter)
    found = measure(top, side.labels, k=(1, 5), inverse_propensity=inverse)
    kept = {metric: found[metric] for metric in METRICS}
    if model.calibration is not None:
        told = megalabel.TopK(top.ids, model.calibration.probability(top.scores))
        kept["ECE@5"] = reliability(told, side.labels, k=5).error
    return kept


def measured(data: str, recipe: str, folder: Path, values: dict[str, Any]) -> None:
    """Rows of one recipe."""
    of = task(opened(data))
    assert of.whole.test is not None
    test, name = of.whole.test, f"{set_name(data)} {recipe}"

    def trained(corpus: Corpus, out: str) -> tuple[Classifier, dict[str, float]]:
        begun, place = time.process_time(), folder / f"{recipe}-{out}"
        there = place.exists()
        model = megalabel.train(from_preset(recipe, corpus, **values), place, quiet=True)
        return model, {} if there else {"CPU s": time.process_time() - begun}

    def told(what: str, found: dict[str, float]) -> None:
        print(name, what, {metric: round(value, 3) for metric, value in found.items()}, flush=True)
        for metric, value in found.items():
            unit = {"CPU s": "s", "ECE@5": "share"}.get(metric, "%")
            row("further_texts", f"{name}, {what}", metric, value, unit)

    whole, seconds = trained(of.whole, "all")
    inverse = inverse_propensities(whole)
    told("trained on all texts", {**scores(whole, test, inverse), **seconds})
    model, seconds = trained(of.first, "first")
    told("trained on 80%", {**scores(model, test, inverse), **seconds})
    for what, rows in (("with few labels", of.has_few), ("without few labels", ~of.has_few)):
        told(f"trained on 80%, {what}", scores(model, test, inverse, rows))
    begun = time.process_time()
    model.partial_fit(of.further)
    told("then partial_fit", {**scores(model, test, inverse), "CPU s": time.process_time() - begun})
    model = megalabel.load(folder / f"{recipe}-first").partial_fit(of.few)
    for what, rows in (("with few labels", of.has_few), ("without few labels", ~of.has_few)):
        told(f"then partial_fit of few labels, {what}", scores(model, test, inverse, rows))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--recipes", nargs="+", default=["linear"])
    parser.add_argument("--keep", type=Path, help="a folder for the runs, which are used again if they are there")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        for recipe in given.recipes:
            values = {} if recipe in ("linear", "retrieval") else {"encoder": "bag"}
            measured(given.data, recipe, given.keep or Path(scratch), values)


if __name__ == "__main__":
    main()
