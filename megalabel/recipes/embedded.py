"""Embeddings of training texts and label texts by a run, for the joint trees of hybrids."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

import numpy as np

from megalabel.models.base import BLOCK
from megalabel.models.hybrid import rescale
from megalabel.phases import phase
from megalabel.progress import Progress
from megalabel.storage.paths import as_path

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.data.texts import Texts
    from megalabel.models.neural import NeuralClassifier

# Embeddings by a run, and by which texts they are of; None outside `sharing_embeddings`.
_SHARED: ContextVar[dict[str, dict[str, np.ndarray]] | None] = ContextVar("shared embeddings", default=None)


@contextmanager
def sharing_embeddings() -> Iterator[None]:
    """Within it, hybrids on the same run compute the embeddings of its texts once; those of one run are kept."""
    before = _SHARED.set({})
    try:
        yield
    finally:
        _SHARED.reset(before)


@phase("embedding the texts")
def embeddings(
    first: NeuralClassifier,
    run: str,
    corpus: Corpus,
    rows: np.ndarray,
    kept: np.ndarray,
    label_rows: np.ndarray,
    norm: float,
) -> np.ndarray:
    """The embeddings of training texts, and then of label texts: (N, D) float32 of norm `norm`.

    Texts beyond `kept` are embedded apart from those, so that a refit has the same bits whether the others are
    known or not.

    Args:
        first: the model of the run.
        run: its folder.
        corpus: the data set.
        rows: the training texts, ascending: `kept`, or these and others.
        kept: those that the run learned, ascending.
        label_rows: the labels whose texts are embedded.
        norm: the length of an embedding.
    """
    found = np.empty((len(rows) + len(label_rows), first.encoder.dim), np.float32)
    known = _of_run(run)
    with Progress("embedding the texts", len(found)) as shown:
        for part in (kept, np.setdiff1d(rows, kept)):
            _fill(found, np.searchsorted(rows, part), first, corpus.train.texts, part, known, shown)
        labels = np.arange(len(rows), len(found))
        _fill(found, labels, first, corpus.label_texts, label_rows, known, shown)
    for start in range(0, len(found), BLOCK):
        rescale(norm, found[start : start + BLOCK])
    return found


def _fill(
    found: np.ndarray,
    places: np.ndarray,
    first: NeuralClassifier,
    texts: Texts,
    rows: np.ndarray,
    known: dict[str, np.ndarray] | None,
    shown: Progress,
) -> None:
    """Writes the last views of some texts into rows of `found`, from `known` if they are there."""
    key = hashlib.sha256(rows.tobytes()).hexdigest() + str(len(texts))
    if known is not None and key in known:
        found[places] = known[key]
        shown.advance(len(rows))
        return
    for start in range(0, len(rows), BLOCK):
        block = slice(start, start + BLOCK)
        found[places[block]] = first.encode(texts[rows[block]])[:, -1]
        shown.advance(len(rows[block]))
    if known is not None:
        known[key] = found[places]


def _of_run(run: str) -> dict[str, np.ndarray] | None:
    """What is known of a run; those of other runs are forgotten."""
    shared = _SHARED.get()
    if shared is None:
        return None
    name = str(as_path(run, "run").resolve())
    if name not in shared:
        shared.clear()
        shared[name] = {}
    return shared[name]
