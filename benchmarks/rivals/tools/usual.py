"""Tools as their own documentation uses them: python usual.py FOLDER fasttext|napkinxc|omikuji.

- `fasttext`: the call for several labels of its tutorial (one-vs-all, 25 epochs, word pairs, 50 dimensions)
  with the default rate of 0.1, since that of the tutorial, 0.5, diverges on these labels.
- `napkinxc`: `PLT` with three trees, on TF-IDF of words and word pairs.
- `omikuji`: its default, three trees, which is also Annif's, on the same TF-IDF.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from shared import Data, arguments, finish, read, tfidf

DEPTH = 10
TUTORIAL = {"epoch": 25, "wordNgrams": 2, "bucket": 200_000, "dim": 50, "loss": "ova"}


def fasttext(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """fastText over words, whose training file holds a line per text."""
    from fasttext import train_supervised

    with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf-8", delete=False) as file:
        for row, text in enumerate(data.train):
            part = slice(data.labels.indptr[row], data.labels.indptr[row + 1])
            labels = " ".join(f"__label__{label}" for label in data.labels.indices[part])
            file.write(f"{labels} {' '.join(text.lower().split())}\n")
    model = train_supervised(input=file.name, thread=1, **TUTORIAL)
    Path(file.name).unlink()
    ids = np.full((len(data.test), DEPTH), -1, np.int64)
    scores = np.full(ids.shape, -np.inf, np.float32)
    for row, text in enumerate(data.test):
        for place, (score, label) in enumerate(
            model.f.predict(" ".join(text.lower().split()) + "\n", DEPTH, 0.0, "")
        ):
            ids[row, place], scores[row, place] = int(label.removeprefix("__label__")), score
    return ids, scores


def napkinxc(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Probabilistic label trees."""
    from napkinxc.models import PLT

    x, test = tfidf(data)
    with tempfile.TemporaryDirectory() as folder:
        model = PLT(folder, ensemble=3, threads=1)
        model.fit(x, data.labels)
        return _pairs(model.predict_proba(test, top_k=DEPTH))


def omikuji(data: Data) -> tuple[np.ndarray, np.ndarray]:
    """Parabel's trees."""
    from omikuji import Model

    x, test = tfidf(data)
    with tempfile.NamedTemporaryFile("w", suffix=".txt", delete=False) as file:
        file.write(f"{x.shape[0]} {x.shape[1]} {data.labels.shape[1]}\n")
        for row in range(x.shape[0]):
            part = slice(data.labels.indptr[row], data.labels.indptr[row + 1])
            a, b = x.indptr[row], x.indptr[row + 1]
            values = " ".join(f"{i}:{v:.6f}" for i, v in zip(x.indices[a:b], x.data[a:b], strict=True))
            file.write(f"{','.join(map(str, data.labels.indices[part]))} {values}\n")
    model = Model.train_on_data(file.name, n_threads=1)
    Path(file.name).unlink()
    rows = []
    for row in range(test.shape[0]):
        a, b = test.indptr[row], test.indptr[row + 1]
        features = list(zip(test.indices[a:b].tolist(), test.data[a:b].tolist(), strict=True))
        rows.append(model.predict(features, top_k=DEPTH))
    return _pairs(rows)


def _pairs(rows: list[list[tuple[int, float]]]) -> tuple[np.ndarray, np.ndarray]:
    """Lists of pairs of a label and its score as arrays (N, DEPTH)."""
    ids, scores = np.full((len(rows), DEPTH), -1, np.int64), np.full((len(rows), DEPTH), -np.inf, np.float32)
    for row, found in enumerate(rows):
        for place, (label, score) in enumerate(found[:DEPTH]):
            ids[row, place], scores[row, place] = label, score
    return ids, scores


if __name__ == "__main__":
    where, who = arguments()
    finish(where, who, {"fasttext": fasttext, "napkinxc": napkinxc, "omikuji": omikuji}[who](read(where)))
