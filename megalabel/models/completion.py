"""Completes texts of which some labels are known, by the labels that occur beside these in training texts.

    evidence[l]  = Σ_j P(l | j) · ln(1 + n[j, l] · N / n[l]) / √G     over the G given labels j
    P(l | j)     = n[j, l] / (n[j] + 2)
    log-odds'[l] = log-odds[l] + strength · evidence[l]

n[j, l] is the number of the N training texts with both labels, n[l] the number with l; n[j, l] · N / n[l] is n[j]
times how much more likely l is beside j. Labels that do not occur beside the given ones keep their scores, and so
do all labels of texts without given ones. Candidates are the model's best labels and those with most evidence; of
one that the model does not rank, the log-odds are those of the last label that it ranks. The formula was chosen on
held-out training texts (docs/notes/0036-evidence.md), and so is the strength of each model (`given_strength.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.label_lookup import labels_named
from megalabel.errors import DataError, SettingError, of_type
from megalabel.kernels.sparse.sparse_rows import keep_largest, remove_pairs
from megalabel.models.base import Advance, Classifier
from megalabel.models.mixture import log_odds
from megalabel.models.predictions import Predictions
from megalabel.models.scores import score_kind
from megalabel.retrieval.co_occurrence import PRIOR
from megalabel.types import TopK

DEPTH = 100  # labels of the model among the candidates, at least
BESIDE = 50  # labels with most evidence among them


def completed(
    model: Classifier,
    texts: Any,
    k: int,
    given: Any,
    *,
    exclude: np.ndarray | None,
    batch_size: int,
    progress: str,
) -> Predictions:
    """The result of `Classifier.topk` with given labels, whose arguments and errors these are."""
    if model.trained_on is None or model.trained_on.pairs is None:
        raise SettingError(
            "given labels for a model that does not know which labels occur together",
            wanted="a model that has learned it",
            next_step="call model.learn_pairs(corpus), or write `megalabel labels RUN --pairs DATA -o OUT`",
            where="given",
        )
    texts = model.check_texts(texts)
    n = len(texts) if model.n_features is None else texts.shape[0]
    known = given_labels(model, given, n)
    rows_of = np.unique(known.indices)
    pairs = model.trained_on.pairs[rows_of]
    weights = evidence_of_pairs(pairs, model.trained_on.counts, model.trained_on.n_texts, rows_of)
    weights.data *= model.trained_on.strength
    own = np.stack([np.repeat(np.arange(n), np.diff(known.indptr)), known.indices.astype(np.int64)], axis=1)
    hide = own if exclude is None else np.concatenate([np.asarray(exclude).reshape(-1, 2), own])

    def rank(texts: Any, rows: slice, exclude: np.ndarray | None, advance: Advance) -> TopK:
        depth = model.reach(max(k, DEPTH))
        top = model.rank(texts, depth, exclude=exclude, batch_size=batch_size, advance=advance)
        hidden = np.zeros((0, 2), np.int64) if exclude is None else np.asarray(exclude)
        places = np.searchsorted(rows_of, known[rows].indices)
        return _merged(model, top, known[rows], places, weights, hidden, model.reach(k))

    return model.in_blocks(texts, k, rank, exclude=hide, progress=progress)


def evidence_of_pairs(
    pairs: sp.csr_matrix, counts: np.ndarray, n_texts: int, labels: np.ndarray | None = None
) -> sp.csr_matrix:
    """What some labels say about each label: (n, L) CSR float32, entries above 0.

    Args:
        pairs: (n, L) CSR, the number of texts that have a label and one of these n.
        counts: (L,) the number of texts with each label.
        n_texts: N.
        labels: (n,) the ids of the n labels; None for all.
    """
    found = pairs.astype(np.float32)
    share = pairs.data / (np.repeat(counts if labels is None else counts[labels], np.diff(pairs.indptr)) + PRIOR)
    lift = pairs.data * (n_texts / np.maximum(counts[pairs.indices], 1))
    found.data = (share * np.log1p(lift)).astype(np.float32)
    return found


def _merged(
    model: Classifier,
    top: TopK,
    known: sp.csr_matrix,
    places: np.ndarray,
    weights: sp.csr_matrix,
    hidden: np.ndarray,
    k: int,
) -> TopK:
    """The k best labels of a block of texts, with known labels (n, L), by scores and evidence.

    places: the row of `weights` of each entry of `known`.
    """
    ids, scores = top.numpy()
    full = evidence_for(known, places, weights, hidden)
    odds = odds_of(model, np.where(ids < 0, 0, scores))
    labels, best = moved(ids, odds, full, float(odds_of(model, np.zeros(1))[0]), k)
    values = np.where(labels < 0, -np.inf, _scores(model, best.astype(np.float64))).astype(np.float32)
    alone = np.flatnonzero(np.diff(known.indptr) == 0)
    width = min(k, ids.shape[1])
    labels[alone, :width], values[alone, :width] = ids[alone, :width], scores[alone, :width]
    return TopK(labels, values)


def evidence_for(
    given: sp.csr_matrix, places: np.ndarray, weights: sp.csr_matrix, hidden: np.ndarray
) -> sp.csr_matrix:
    """The evidence of the given labels of n texts for each label: (n, L) CSR with sorted rows.

    Args:
        given: (n, L) CSR of ones.
        places: the row of `weights` of each entry of `given`.
        weights: (m, L) CSR, what m labels say about each label; see `evidence_of_pairs`.
        hidden: (F, 2) pairs of a text and a label that are left out.
    """
    sizes = np.diff(given.indptr)
    shares = np.repeat(1 / np.sqrt(np.maximum(sizes, 1)), sizes).astype(np.float32)
    divided = sp.csr_matrix((shares, places, given.indptr), shape=(given.shape[0], weights.shape[0]))
    found = (divided @ weights).tocsr()
    remove_pairs(found, hidden)
    found.sort_indices()
    return found


def moved(
    ids: np.ndarray, odds: np.ndarray, evidence: sp.csr_matrix, lowest: float, k: int
) -> tuple[np.ndarray, np.ndarray]:
    """The k best labels of n texts by log-odds and evidence.

    Args:
        ids: (n, m) the labels that a model ranks, −1 for none.
        odds: (n, m) float64, their log-odds.
        evidence: (n, L) CSR with sorted rows, without the labels that are left out.
        lowest: log-odds of all labels of a text for which the model ranks none.
        k: labels per text.

    Returns:
        Labels (n, k) int64, −1 for none, and log-odds (n, k) float32.
    """
    odds = np.where(ids < 0, np.inf, odds)
    last = np.where((ids >= 0).any(axis=1), odds.min(axis=1), lowest)
    ranked = np.where(ids < 0, -np.inf, odds) + _at(evidence, ids)
    further = keep_largest(evidence, BESIDE)
    wide = int(np.diff(further.indptr).max(initial=0))
    more = np.full((len(ids), wide), -1, np.int64)
    values = np.full((len(ids), wide), -np.inf)
    rows = np.repeat(np.arange(len(ids)), np.diff(further.indptr))
    columns = np.arange(further.nnz) - further.indptr[rows]
    more[rows, columns] = further.indices
    values[rows, columns] = last[rows] + further.data
    there = (more[:, :, None] == ids[:, None, :]).any(axis=2) if wide else np.zeros(more.shape, bool)
    more[there], values[there] = -1, -np.inf
    labels = np.concatenate([ids, more], axis=1)
    best = np.concatenate([ranked, values], axis=1).astype(np.float32)
    order = np.lexsort((labels, -best), axis=1)[:, :k]
    return np.take_along_axis(labels, order, axis=1), np.take_along_axis(best, order, axis=1)


def given_labels(model: Classifier, given: Any, n: int) -> sp.csr_matrix:
    """The given labels of n texts as (n, L) CSR of ones with sorted rows.

    Raises:
        SettingError: not a list of lists, or a matrix, with an entry per text.
        DataError: a label that the model does not have.
    """
    n_labels = len(model.label_texts)
    if sp.issparse(given):
        if given.shape != (n, n_labels):
            raise SettingError(f"given labels {given.shape}", wanted=f"({n}, {n_labels})", where="given")
        found = (given.tocsr() != 0).astype(np.float32)
        found.sort_indices()
        return found
    if isinstance(given, (str, bytes)) or not isinstance(given, Sequence) or len(given) != n:
        size = f"a list of {len(given):,}" if isinstance(given, (list, tuple)) else of_type(given)
        raise SettingError(
            f"{size} as given labels of {n} texts", wanted="a list of labels for each", where="given"
        )
    wanted = {label for own in given if isinstance(own, Sequence) for label in own if isinstance(label, str)}
    found_by_name = labels_named(model.label_texts, model.metadata, wanted, "given")
    by_name = {name: labels[0] for name, labels in found_by_name.items()}
    rows, columns = [], []
    for row, own in enumerate(given):
        if isinstance(own, (str, bytes)) or not isinstance(own, Sequence):
            raise SettingError(
                f"{own!r:.80} as the given labels of text {row}", wanted="a list of names or ids", where="given"
            )
        for label in own:
            rows.append(row)
            columns.append(_id_of(label, by_name, n_labels, row))
    found = sp.csr_matrix((np.ones(len(rows), np.float32), (rows, columns)), shape=(n, n_labels))
    found.sum_duplicates()
    found.data[:] = 1
    return found


def _id_of(label: Any, by_name: dict[str, int], n_labels: int, row: int) -> int:
    if isinstance(label, str) and label in by_name:
        return by_name[label]
    whole = isinstance(label, (int, np.integer)) and not isinstance(label, bool)
    if not (whole and 0 <= label < n_labels):
        raise DataError(
            f"the given label {label!r:.80} of text {row}",
            wanted=f"names of labels of the model, or ids from 0 to {n_labels - 1}",
            next_step="leave it out, since the model knows nothing about it",
            where="given",
        )
    return int(label)


def odds_of(model: Classifier, scores: np.ndarray) -> np.ndarray:
    """Scores of a model as log-odds, float64."""
    if score_kind(model) == "mixture":
        return log_odds(np.square(scores), "probability")
    return log_odds(scores, model.score_type)


def _scores(model: Classifier, odds: np.ndarray) -> np.ndarray:
    """The scores of a model that have some log-odds."""
    if score_kind(model) in ("logit", "margin"):
        return odds
    p: np.ndarray = 1 / (1 + np.exp(-np.clip(odds, -500, 500)))
    return np.sqrt(p) if score_kind(model) == "mixture" else p


def _at(matrix: sp.csr_matrix, ids: np.ndarray) -> np.ndarray:
    """The entries of the rows of a sparse matrix at ids (n, m), 0 at −1."""
    rows = np.repeat(np.arange(len(ids)), ids.shape[1])
    found = np.asarray(matrix[rows, np.maximum(ids, 0).ravel()]).reshape(ids.shape)
    return np.where(ids < 0, 0.0, found)
