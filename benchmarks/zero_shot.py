"""Labels that no training text had, added by their texts: how many of them are among a text's best ten labels.

    python benchmarks/zero_shot.py DATA/wordnet --labels 500 --seeds 0 1 2
    python benchmarks/zero_shot.py bundled:wordnet-4k --models linear dexml --encoder minilm

For each seed, labels are drawn among those with a test text and removed from the training side; texts that have no
other label are left out. Each model is trained with its committed preset, and the labels are added by
`with_labels(names, texts=training texts)`. Recall@10 is over the pairs of a test text and an added label, among
all labels. "untrained" is a dual encoder with the vectors from which `dexml` starts. `--examples N` adds N
training texts of each label (of those that were removed). `ngame+dexml` and `ngame+renee` start from the encoder
of `ngame`.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from data_sets import opened, set_name
from record import row

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.models.base import Classifier
from megalabel.models.neural import NeuralClassifier
from megalabel.recipes import from_preset

MODELS = ("untrained", "linear", "renee", "hybrid", "dexml", "ngame", "ngame+dexml", "ngame+renee")
SCALE_TEXTS = 2000  # training texts by which the scale of added labels is found
K = 10


class Task(NamedTuple):
    """A corpus without some labels, the names of these with example texts, and the test texts that have them."""

    train: Corpus
    names: dict[str, list[str]]
    texts: list[str]
    answers: list[set[int]]


def task(whole: Corpus, n: int, seed: int, examples: int) -> Task:
    """Removes n labels that have test texts."""
    assert whole.test is not None
    names = np.array(list(whole.label_texts), dtype=object)
    tested = np.flatnonzero(np.bincount(whole.test.labels.indices, minlength=whole.n_labels))
    tested = tested[[bool(str(names[i]).strip()) for i in tested]]
    new = np.sort(np.random.default_rng(seed).choice(tested, min(n, len(tested)), replace=False))
    known = np.setdiff1d(np.arange(whole.n_labels), new)
    labels, columns = whole.train.labels.tocsr(), whole.train.labels.tocsc()
    rows = np.flatnonzero(np.diff(labels[:, known].indptr))
    texts = list(whole.train.texts)
    train = Corpus.of([texts[i] for i in rows], labels[rows][:, known], list(names[known]), name=whole.name)
    given = {str(names[i]): [texts[j] for j in columns[:, i].indices[:examples]] for i in new}
    asked = whole.test.labels.tocsr()[:, new]
    some = np.flatnonzero(np.diff(asked.indptr))
    answers = [set((asked[i].indices + len(known)).tolist()) for i in some]
    return Task(train, given, [whole.test.texts[int(i)] for i in some], answers)


def recall(model: Classifier, of: Task) -> float:
    """The percentage of pairs of text and added label that the best ten labels of the text hold."""
    ids, _ = model.topk(of.texts, K).numpy()
    found = sum(len(own & set(best)) for own, best in zip(of.answers, ids.tolist(), strict=True))
    return 100 * found / sum(map(len, of.answers))


def trained(name: str, of: Task, folder: Path, seed: int, encoder: str, epochs: int | None) -> Classifier:
    """A model of a kind, from its folder if it is there already."""
    out, values = folder / name, {"encoder": encoder, "seed": seed}
    if epochs is not None:
        values["epochs"] = epochs
    start, plus, recipe = name.rpartition("+")
    if plus:
        trained(start, of, folder, seed, encoder, epochs)
        values["encoder"] = str(folder / start)
    if recipe == "untrained":
        made = from_preset("dexml", of.train, **values)
        parts = made.encoder, made.head, of.train.label_texts, made.max_length or made.batches.rows.max_length
        return NeuralClassifier(*parts, made.label_texts).eval().settle()
    if recipe == "linear":
        values = {"seed": seed}
    if recipe == "hybrid":
        trained("renee", of, folder, seed, encoder, epochs)
        values = {"run": str(folder / "renee"), "seed": seed}
    elif recipe == "renee":
        values["validation_fraction"] = 0.05
    return megalabel.train(from_preset(recipe, of.train, **values), out, quiet=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--labels", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--models", nargs="+", choices=MODELS, default=MODELS)
    parser.add_argument("--encoder", default="bag")
    parser.add_argument("--epochs", type=int, help="of all neural models; default: those of the presets")
    parser.add_argument("--examples", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="a folder for the runs, which are used again if they are there")
    given = parser.parse_args()
    whole = opened(given.data)
    found: dict[str, list[float]] = {name: [] for name in given.models}
    for seed in given.seeds:
        of = task(whole, given.labels, seed, given.examples)
        with tempfile.TemporaryDirectory() as scratch:
            folder = (given.keep or Path(scratch)) / f"{set_name(given.data)}-{given.encoder}-{seed}"
            for name in given.models:
                begun = time.process_time()
                model = trained(name, of, folder, seed, given.encoder, given.epochs)
                labels: Any = of.names if given.examples else list(of.names)
                value = recall(model.with_labels(labels, texts=list(of.train.train.texts)[:SCALE_TEXTS]), of)
                found[name].append(value)
                print(f"seed {seed}, {name}: {value:.2f} ({time.process_time() - begun:.0f} CPU s)", flush=True)
    how = f"{given.labels} labels by their texts" + (f" and {given.examples} examples" if given.examples else "")
    for name, values in found.items():
        size = f"{set_name(given.data)} {name} {given.encoder}, {how}, {len(values)} seeds"
        row("zero_shot", size, f"recall@{K} of added labels", statistics.mean(values), "%")
        if len(values) > 1:
            row("zero_shot", size, f"recall@{K} of added labels ±", statistics.stdev(values), "%")


if __name__ == "__main__":
    main()
