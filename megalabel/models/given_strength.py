"""Chooses how much given labels count, on texts that a model has not learned.

Where texts are short, the labels beside a label tell much; where a text of many pages shows all of its labels,
they tell nothing that the model does not know, and moving its scores does harm. Of each text, half of the labels
are given; the strength with the best DCG@5 of the other half is kept, the smaller one of equals.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.models.completion import evidence_for, evidence_of_pairs, moved
from megalabel.models.label_pairs import STRENGTH, count_pairs

STRENGTHS = (0.0, 0.25, 0.5, 1.0, 2.0, 3.0, 4.0)
FEWEST, MOST = 100, 2000  # texts with two labels or more on which a strength is chosen
DEPTH = 5


def halved(labels: sp.csr_matrix, seed: int) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Half of the labels of each text, rounded down and drawn at random, and the others: (n, L) CSR of ones."""
    random = np.random.default_rng(seed)
    given = np.zeros(labels.nnz, bool)
    for start, stop in zip(labels.indptr[:-1], labels.indptr[1:], strict=True):
        given[start + random.permutation(stop - start)[: (stop - start) // 2]] = True
    found = []
    for chosen in (given, ~given):
        part = sp.csr_matrix(
            (chosen.astype(np.float32), labels.indices.copy(), labels.indptr.copy()), labels.shape
        )
        part.eliminate_zeros()
        found.append(part)
    return found[0], found[1]


def chosen_strength(
    ids: np.ndarray, odds: np.ndarray, labels: sp.csr_matrix, others: sp.csr_matrix, seed: int = 0
) -> float:
    """The strength for a model that ranks n texts so.

    Args:
        ids: (n, m) the labels that the model ranks for each text, best first, −1 for none.
        odds: (n, m) their log-odds.
        labels: (n, L) CSR, above 0 where a text has a label.
        others: (N, L) CSR, the labels of texts among which pairs are counted: none of the n.
        seed: which half is given.

    Returns:
        The strength; the default where fewer than 100 texts have two labels.
    """
    rows = np.flatnonzero(np.diff(labels.indptr) > 1)[:MOST]
    if len(rows) < FEWEST:
        return STRENGTH
    given, rest = halved(labels[rows].tocsr(), seed)
    counts = np.bincount(others.indices, minlength=labels.shape[1])
    named = np.unique(given.indices)
    weights = evidence_of_pairs(count_pairs(others)[named], counts, others.shape[0], named)
    own = np.stack(given.nonzero(), axis=1)
    evidence = evidence_for(given, np.searchsorted(named, given.indices), weights, own)
    n_labels = labels.shape[1]
    hidden = np.isin(ids[rows] + np.arange(len(rows))[:, None] * n_labels, own[:, 0] * n_labels + own[:, 1])
    left, odds = np.where(hidden, -1, ids[rows]), odds[rows]
    discounts, gains = 1 / np.log2(np.arange(2, DEPTH + 2)), []
    for strength in STRENGTHS:
        best, _ = moved(left, odds, evidence * strength, 0.0, DEPTH)
        at = np.repeat(np.arange(len(rows)), best.shape[1])
        there = np.asarray(rest[at, np.maximum(best, 0).ravel()]).ravel() * (best.ravel() >= 0)
        gains.append(float(there.reshape(best.shape).sum(axis=0) @ discounts))
    return STRENGTHS[int(np.argmax(gains))]
