"""Adds, removes and merges labels of a trained model: time per label, and of rankings afterwards.

    python benchmarks/labels.py [--labels N] DATA

A linear model of one tree over words is trained on DATA without N labels of at least four training texts. These
are added with four example texts each; as many others are removed and merged.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import record
from data_sets import opened

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.models.base import Classifier
from megalabel.recipes.linear import linear

FIXED = {
    "token_pattern": "letters", "bigrams": "no", "char_ngrams": "no", "c": 1.0, "label_texts": "no", "trees": 1,
}  # fmt: skip
EXAMPLES, TEXTS = 4, 1000


def timed(work: Callable[[], Classifier]) -> tuple[Classifier, float]:
    """What the work returns, and its CPU time in ms."""
    before = time.process_time()
    found = work()
    return found, 1e3 * (time.process_time() - before)


def ranking(model: Classifier, texts: list[str]) -> float:
    """The CPU time of a ranking in ms."""
    before = time.process_time()
    model.topk(texts, 5)
    return 1e3 * (time.process_time() - before)


def measured(name: str, n: int) -> None:
    data = opened(name)
    columns = data.train.labels.tocsc()
    often = np.flatnonzero(np.diff(columns.indptr) >= EXAMPLES)
    new = np.random.default_rng(0).permutation(often)[:n]
    old = np.setdiff1d(np.arange(data.n_labels), new)
    names = [data.label_texts[int(i)] for i in old]
    known = Corpus.of(list(data.train.texts), data.train.labels[:, old], names, name=data.name)
    examples = {
        data.label_texts[int(i)]: [data.train.texts[int(row)] for row in columns[:, [i]].indices[:EXAMPLES]]
        for i in new
        if data.label_texts[int(i)] not in set(names)
    }
    asked = list(data.train.texts[:TEXTS])
    size = f"{data.name} {len(old):,} labels, {len(examples):,} added, removed, merged"
    with tempfile.TemporaryDirectory() as folder:
        model = megalabel.train(linear(known, **FIXED), Path(folder) / "run", quiet=True)
        model.topk(asked[:50], 5)
        gone = np.random.default_rng(1).permutation(len(old))[: len(examples)].tolist()
        pairs = {f"merged {i}": gone[i : i + 2] for i in range(0, len(gone) - 1, 2)}
        for what, work in (
            ("with_labels", lambda: model.with_labels(examples, texts=asked[:200])),
            ("without_labels", lambda: model.without_labels(gone)),
            ("merge_labels", lambda: model.merge_labels(pairs)),
        ):
            changed, ms = timed(work)
            record.row("labels", size, f"{what} CPU", ms / len(examples), "ms/label")
            ratio = ranking(changed, asked) / ranking(model, asked)
            record.row("labels", size, f"{what} topk against before", ratio, "x")
            print(size, what, f"{ms / len(examples):.3f} ms a label, topk {ratio:.2f}x", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--labels", type=int, default=500)
    options = parser.parse_args()
    measured(options.data, options.labels)


if __name__ == "__main__":
    main()
