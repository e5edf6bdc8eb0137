"""Finished runs that an ensemble can merge, and the folder of their data."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
from planted import planted

import megalabel
from megalabel.data.convert import convert
from megalabel.data.corpus import Corpus
from megalabel.recipes.linear import linear
from megalabel.recipes.renee import renee

RENEE = dict(
    encoder="bag",
    tokenizer="words",
    max_length=16,
    epochs=1,
    batch_size=32,
    warmup=0.1,
    validation_fraction=0.25,
    seed=7,
)


def planted_folder(path: Path) -> Path:
    """The planted corpus with fewer texts and with filter pairs, as a folder."""
    data = planted(n_texts=200)
    filter = np.stack([np.arange(0, 200, 2), np.arange(100) % 4], axis=1)
    convert(replace(data, train=replace(data.train, filter=filter)), path, "raw")
    return path


def finished_runs(folder: Path, out: Path) -> Path:
    """Trains runs by name: five that hold out the same quarter, and others."""
    data = Corpus.open(folder)
    quarter = {"validation_fraction": 0.25, "seed": 7}
    made = {
        "pairs": linear(data, clusters=(4,), trees=1, **quarter),
        "words": linear(data, clusters=(8,), trees=1, bigrams=False, min_texts=4, label_texts="no", **quarter),
        "blind": linear(data, clusters=(4,), trees=1, vocabulary=3, bigrams=False, label_texts="no", **quarter),
        "few": linear(data, clusters=(4,), trees=1, vocabulary=20, bigrams=False, label_texts="no", **quarter),
        "neural": renee(data, **RENEE),
        "all": linear(data, clusters=(4,), trees=1),
        "seed": linear(data, clusters=(4,), trees=1, validation_fraction=0.25, seed=8),
        "other": linear(planted(n_texts=150), clusters=(4,), trees=1, **quarter),
        "labels": linear(planted(n_labels=32), clusters=(4,), trees=1, **quarter),
    }
    for name, recipe in made.items():
        megalabel.train(recipe, out / name, quiet=True)
    return out
