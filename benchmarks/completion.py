"""Completes test texts of which half of the labels are given: P@5 with and without telling the model.

    python benchmarks/completion.py [--texts N] [--seed N] DATA...

DATA is a folder or bundled:NAME. A linear model of one tree over words is trained on the training texts (or on N
of them, drawn at random), with fixed settings. Of each test text with two or more labels, half of them (rounded
down) are given. Both rankings leave the given labels out, and so does the truth.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import record
from data_sets import opened

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.metrics.ranking import measure
from megalabel.models.given_strength import halved
from megalabel.recipes.linear import linear

FIXED = {
    "token_pattern": "letters", "bigrams": "no", "char_ngrams": "no", "c": 1.0, "label_texts": "no", "trees": 1,
}  # fmt: skip
DEPTHS = (1, 5)


def measured(name: str, n_texts: int, seed: int) -> None:
    data = opened(name)
    if data.test is None:
        raise SystemExit(f"{name} has no test texts")
    if 0 < n_texts < len(data.train):
        rows = np.sort(np.random.default_rng(seed).permutation(len(data.train))[:n_texts])
        texts = [data.train.texts[int(i)] for i in rows]
        test = {"test_texts": list(data.test.texts), "test_labels": data.test.labels}
        data = Corpus.of(texts, data.train.labels[rows], list(data.label_texts), name=data.name, **test)
    with tempfile.TemporaryDirectory() as folder:
        model = megalabel.train(linear(data, **FIXED), Path(folder) / "run", quiet=True)
        rows = np.flatnonzero(np.diff(data.test.labels.indptr) > 1)
        texts = [data.test.texts[int(i)] for i in rows]
        given, rest = halved(data.test.labels[rows].tocsr(), seed)
        pairs = np.stack(given.nonzero(), axis=1)
        plain = measure(model.topk(texts, max(DEPTHS), exclude=pairs), rest, k=DEPTHS)
        before = time.perf_counter()
        told = measure(model.topk(texts, max(DEPTHS), given=given), rest, k=DEPTHS)
        seconds = time.perf_counter() - before
    sizes = f"{len(data.train):,} texts {data.n_labels:,} labels, {len(texts):,} test texts"
    size = f"{data.name} {sizes}, seed {seed}"
    for k in DEPTHS:
        record.row("completion", size, f"P@{k} given ignored", plain[f"P@{k}"], "%")
        record.row("completion", size, f"P@{k} given", told[f"P@{k}"], "%")
        print(size, f"P@{k}", round(plain[f"P@{k}"], 2), round(told[f"P@{k}"], 2), flush=True)
    record.row("completion", size, "strength", model.trained_on.strength, "")
    print(size, "strength", model.trained_on.strength)
    record.row("completion", size, "given topk", 1e3 * seconds / len(texts), "ms/text")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--texts", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    for name in options.data:
        measured(name, options.texts, options.seed)


if __name__ == "__main__":
    main()
