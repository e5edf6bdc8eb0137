"""What the rivals share: reading the prepared texts, TF-IDF as a user makes it, and writing the best labels.

Runs in the environments of the tools, without megalabel.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

DEPTH = 100  # labels stored per text


class Data(NamedTuple):
    """Raw texts and labels of a data set.

    train, test, names: the training texts, the test texts and the label texts.
    labels: (N, L) float32 CSR of ones.
    """

    train: list[str]
    test: list[str]
    names: list[str]
    labels: sp.csr_matrix


def read(folder: Path) -> Data:
    """What `run.py` prepared."""
    texts = json.loads((folder / "texts.json").read_text(encoding="utf-8"))
    return Data(texts["train"], texts["test"], texts["names"], sp.load_npz(folder / "labels.npz").tocsr())


def with_label_rows(data: Data) -> Data:
    """Each label text as one more training row."""
    ones = sp.identity(len(data.names), dtype=np.float32, format="csr")
    return data._replace(train=[*data.train, *data.names], labels=sp.vstack([data.labels, ones], format="csr"))


def tfidf(data: Data, pairs: bool = True) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """TF-IDF of words and word pairs with logarithmic counts: training rows and test rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(
        ngram_range=(1, 2 if pairs else 1), sublinear_tf=True, max_features=1_000_000, dtype=np.float32
    )
    x = vectorizer.fit_transform(data.train)
    return x.tocsr(), vectorizer.transform(data.test).tocsr()


def best(scores: sp.csr_matrix, depth: int = DEPTH) -> tuple[np.ndarray, np.ndarray]:
    """The largest entries of each row, best first: ids and scores (N, depth), -1 and -inf where there are none."""
    ids = np.full((scores.shape[0], depth), -1, np.int64)
    values = np.full((scores.shape[0], depth), -np.inf, np.float32)
    for row in range(scores.shape[0]):
        part = slice(scores.indptr[row], scores.indptr[row + 1])
        order = np.argsort(-scores.data[part], kind="stable")[:depth]
        ids[row, : len(order)], values[row, : len(order)] = scores.indices[part][order], scores.data[part][order]
    return ids, values


def finish(folder: Path, name: str, top: tuple[np.ndarray, np.ndarray], **facts: Any) -> None:
    """Writes the best labels and prints the CPU seconds of the process, with its children's, as JSON."""
    np.savez(folder / f"{name}.npz", labels=top[0], scores=top[1])
    print(json.dumps({**facts, "train CPU s": facts.get("train CPU s", 0.0), "CPU s": time.process_time()}))


def arguments() -> tuple[Path, str]:
    """The folder of the prepared data and the name of the rival."""
    return Path(sys.argv[1]), sys.argv[2]
