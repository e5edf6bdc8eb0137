"""Labels that are added to a trained model, beside a training that has them: accuracy, and CPU time per label.

    python benchmarks/added_labels.py DATA/wordnet --labels 500
    python benchmarks/added_labels.py bundled:wordnet-4k --labels 300 --recipes linear renee cascadexml

Labels with at least four training texts and a test text are drawn and removed from the training side; texts
without another label are left out. The model that is trained on the rest, with the committed preset (encoder
bag), gets the labels back by `with_labels`: with all their training texts as examples, and by their texts alone.
The comparison is the same recipe trained on all texts and labels. "of their texts" is over the test texts with
an added label, among all labels; "among the added" ranks only these. "encoder alone" is a dual encoder with the
vectors from which `dexml` starts.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
from data_sets import opened, set_name
from record import row

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.models.base import Classifier
from megalabel.models.neural import NeuralClassifier
from megalabel.recipes import from_preset

EXAMPLES = 4  # training texts of an added label at least
SCALE_TEXTS = 2000  # training texts that are passed as `texts`
K = 10


class Task(NamedTuple):
    """A corpus, the same without some labels, these with their texts, and the ids of all in this order."""

    whole: Corpus
    known: Corpus
    examples: dict[str, list[str]]
    order: np.ndarray

    @property
    def added(self) -> np.ndarray:
        """The ids of the added labels in the whole corpus."""
        return self.order[self.known.n_labels :]


def task(whole: Corpus, n: int, seed: int) -> Task:
    """Removes n labels."""
    assert whole.test is not None
    counts, tested = (
        np.bincount(side.labels.indices, minlength=whole.n_labels) for side in (whole.train, whole.test)
    )
    often = np.flatnonzero((counts >= EXAMPLES) & (tested > 0))
    often = often[[bool(whole.label_texts[int(i)].strip()) for i in often]]
    new = np.sort(np.random.default_rng(seed).choice(often, min(n, len(often)), replace=False))
    known = np.setdiff1d(np.arange(whole.n_labels), new)
    names = [whole.label_texts[int(i)] for i in known]
    labels, columns, texts = whole.train.labels.tocsr(), whole.train.labels.tocsc(), list(whole.train.texts)
    rows = np.flatnonzero(np.diff(labels[:, known].tocsr().indptr))
    train = Corpus.of([texts[i] for i in rows], labels[rows][:, known], names, name=whole.name)
    examples = {whole.label_texts[int(i)]: [texts[j] for j in columns[:, [i]].indices] for i in new}
    return Task(whole, train, examples, np.concatenate([known, new]))


def measured(of: Task, what: str, model: Classifier, ids: np.ndarray) -> dict[str, float]:
    """Rows of a model whose label i is label ids[i] of the whole corpus."""
    assert of.whole.test is not None
    test, added = of.whole.test, set(of.added.tolist())
    truth = [set(row.indices.tolist()) for row in test.labels.tocsr()]
    some = [i for i, own in enumerate(truth) if own & added]
    best = ids[np.maximum(model.topk(test.texts, K).ids, 0)]
    only = np.flatnonzero(np.isin(ids, of.added)).tolist()
    first = ids[model.predict([test.texts[i] for i in some], 1, allow=only, probabilities=False).ids[:, 0]]
    hits = sum(len(added & truth[i] & set(best[i].tolist())) for i in some)
    found = {
        "P@1 of their texts": np.mean([best[i, 0] in truth[i] for i in some]),
        "P@1 among the added": np.mean([label in truth[i] for i, label in zip(some, first, strict=True)]),
        f"recall@{K} of the added": hits / sum(len(added & truth[i]) for i in some),
        "their texts with an added label first": np.mean([int(best[i, 0]) in added for i in some]),
        "P@1 of all test texts": np.mean([best[i, 0] in own for i, own in enumerate(truth)]),
    }
    percent = {metric: 100 * float(value) for metric, value in found.items()}
    print(what, {metric: round(value, 2) for metric, value in percent.items()}, flush=True)
    for metric, value in percent.items():
        row("added_labels", what, metric, value, "%")
    return percent


def compared(of: Task, data: str, recipe: str, folder: Path) -> None:
    """Rows of a recipe."""
    values: dict[str, object] = {"calibration": "no"} if recipe == "linear" else {"encoder": "bag"}
    name = f"{set_name(data)} {recipe}, {len(of.examples)} labels"

    def trained(corpus: Corpus, out: str) -> Classifier:
        if recipe == "hybrid":
            own = {"run": str(folder / f"renee-{out}"), "weights": "1,1,1"}
            return megalabel.train(from_preset(recipe, corpus, **own), folder / f"{recipe}-{out}", quiet=True)
        return megalabel.train(from_preset(recipe, corpus, **values), folder / f"{recipe}-{out}", quiet=True)

    again = measured(of, f"{name}, trained again", trained(of.whole, "all"), np.arange(of.whole.n_labels))
    model, texts = trained(of.known, "known"), list(of.known.train.texts)
    model.topk(texts[:50], 5)  # compiles, and maps the weights
    some = [texts[i] for i in np.random.default_rng(1).permutation(len(texts))[:SCALE_TEXTS]]
    for what, labels in (("with examples", of.examples), ("by text alone", list(of.examples))):
        model.with_labels(list(of.examples)[:2], texts=some[:20])
        begun = time.process_time()
        larger = model.with_labels(labels, texts=some)
        ms = 1e3 * (time.process_time() - begun) / len(of.examples)
        row("added_labels", f"{name}, {what}", "with_labels CPU", ms, "ms/label")
        found = measured(of, f"{name}, {what}", larger, of.order)
        ratio = found["P@1 of their texts"] / again["P@1 of their texts"]
        row("added_labels", f"{name}, {what}", "P@1 of their texts, of that trained again", 100 * ratio, "%")
        print(f"    {ms:.3f} ms per label, {100 * ratio:.1f}% of the P@1 trained again", flush=True)


def encoder_alone(of: Task, data: str) -> None:
    """Rows of a dual encoder that was not trained."""
    made = from_preset("dexml", of.known, encoder="bag")
    parts = made.encoder, made.head, of.known.label_texts, made.max_length, made.label_texts
    model = NeuralClassifier(*parts).eval().settle().with_labels(list(of.examples))
    measured(of, f"{set_name(data)} encoder alone, {len(of.examples)} labels, by text alone", model, of.order)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--recipes", nargs="*", default=["linear"])
    parser.add_argument("--keep", type=Path, help="a folder for the runs, which are used again if they are there")
    given = parser.parse_args()
    of = task(opened(given.data), given.labels, given.seed)
    with tempfile.TemporaryDirectory() as scratch:
        for recipe in given.recipes:
            compared(of, given.data, recipe, given.keep or Path(scratch))
    encoder_alone(of, given.data)


if __name__ == "__main__":
    main()
