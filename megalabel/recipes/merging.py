"""Chooses how a hybrid merges its rankings, by cross-validation over the texts that its run held out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from megalabel.kernels.merging.ranked import Ranked
from megalabel.models.boosted_merge import TREES, BoostedMerge, Found, candidates, cross_validated
from megalabel.models.hybrid import HybridClassifier, whole_words
from megalabel.retrieval.index import RetrievalIndex

if TYPE_CHECKING:
    import scipy.sparse as sp

    from megalabel.linear.training_rows import TrainingRows
    from megalabel.training.recipe import Say

LEAST_GAIN = 0.1  # points of nDCG@5 that search must add to the merge without it


def search_index(made: TrainingRows, rows: np.ndarray) -> RetrievalIndex:
    """The index of training rows.

    Args:
        made: the training rows, label texts last.
        rows: (n,) the rows of the training set of these texts.
    """
    origins = np.concatenate([rows, -1 - made.label_text_rows])
    return RetrievalIndex.build(whole_words(made.text, made.x), made.labels, origins)


def choose_merge(
    model: HybridClassifier,
    found: Found,
    index: RetrievalIndex | None,
    labels: sp.csr_matrix,
    training_labels: sp.csr_matrix,
    *,
    merge: Literal["auto", "boosted"],
    neighbors: Literal["auto", "yes", "no"],
    say: Say,
) -> None:
    """Gives a hybrid the index and the boosted trees that gain on the held-out texts, if any do.

    Args:
        model: the hybrid, with its mixture.
        found: what it finds for n held-out texts.
        index: the index of training rows; None for none.
        labels: (n, L) CSR, the labels of the held-out texts.
        training_labels: (N, L) CSR, those of the training texts.
        merge: "boosted" also where the trees gain nothing.
        neighbors: whether the trees see what the index finds; "auto" if that gains.
        say: a function that takes one line of text.
    """
    tried = []
    if neighbors != "yes":
        none = Ranked(np.zeros((labels.shape[0], 0), np.int64), np.zeros((labels.shape[0], 0), np.float32))
        tried.append((found._replace(rows=none, documents=none), RetrievalIndex.without_rows(training_labels)))
    if index is not None:
        tried.append((found, index))
    best = None
    for one, known in tried:
        made = candidates(model.mixture, one, known.known)
        n_trees, gain = cross_validated(made, labels)
        say(
            f"boosted merge {'with' if known.n_features else 'without'} neighbors: "
            f"{gain:+.2f} nDCG@5 over the mixture on held-out texts, {n_trees} trees"
        )
        if best is None or gain >= best[0] + LEAST_GAIN:
            best = gain, n_trees, made, known
    assert best is not None
    _, n_trees, made, known = best
    if merge == "boosted" or neighbors == "yes":
        n_trees = n_trees or TREES[0]
    if n_trees:
        model.index, model.learned = known, BoostedMerge.fit(made, labels, n_trees)
