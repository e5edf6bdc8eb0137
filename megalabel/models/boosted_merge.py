"""Merges rankings by boosted trees over what speaks for each candidate, fitted on held-out texts.

The trees start from the log-odds of the mixture, so that they correct it where the held-out texts show how:
which ranking to trust where they disagree, what the nearest training texts and label documents say, and which
labels occur beside those that are certain. Their number is chosen by cross-validation over the held-out texts,
among them none, which is the mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from megalabel.errors import RESTORE_FOLDER
from megalabel.kernels.merging.evidence import evidence
from megalabel.kernels.merging.ranked import Knowledge, Ranked
from megalabel.kernels.sparse.hits import as_truth, best_gains, hits
from megalabel.metrics.topk import checked_arrays
from megalabel.models.mixture import DEPTH, Mixture, log_odds
from megalabel.retrieval.boosted import BoostedTrees
from megalabel.storage.reading import reading
from megalabel.types import ScoreType, TopK

MERGED = 25  # labels of the mixture among the candidates
FOLDS, TREES = 3, (30, 60, 100)
LEAST_SCORE = 0.03  # of the mixture, for candidates without a place in it
SEARCHED_TREES = 100
GAIN = 0.2  # points of nDCG@5 that the trees must gain


class Found(NamedTuple):
    """What was found for n texts: rankings, their types, and the nearest rows and label documents."""

    rankings: Sequence[TopK]
    score_types: Sequence[ScoreType]
    rows: Ranked
    documents: Ranked

    def part(self, at: np.ndarray) -> Found:
        """That of some of the texts."""
        tables = [top.numpy() for top in self.rankings]
        rankings = [TopK(ids[at], scores[at]) for ids, scores in tables]
        near = [Ranked(r.ids[at], r.scores[at]) for r in (self.rows, self.documents)]
        return Found(rankings, self.score_types, *near)


class Candidates(NamedTuple):
    """Labels (n, C), -1 for none, their features (n, C, F), and the log-odds (n, C) from which trees start."""

    ids: np.ndarray
    features: np.ndarray
    start: np.ndarray


class BoostedMerge:
    """A learned merge of rankings.

    Args:
        trees: over the features of candidates.
    """

    def __init__(self, trees: BoostedTrees) -> None:
        self.trees = trees

    @classmethod
    def fit(cls, made: Candidates, labels: sp.csr_matrix, n_trees: int) -> Self:
        """Fits trees to the candidates of texts with labels (n, L)."""
        there = made.ids >= 0
        return cls(BoostedTrees.fit(made.features[there], _true(made, labels)[there], made.start[there], n_trees))

    def merge(self, made: Candidates, k: int, exclude: np.ndarray | None = None) -> TopK:
        """The k best candidates of each text and the probabilities that they are true.

        Args:
            made: the candidates.
            k: labels per text.
            exclude: (F, 2) pairs (row, label) that are left out.
        """
        there = made.ids >= 0
        if exclude is not None and len(exclude):
            width = np.int64(max(int(made.ids.max(initial=0)), int(exclude[:, 1].max())) + 1)
            keys = np.arange(len(made.ids))[:, None] * width + made.ids
            there = there & ~np.isin(keys, exclude[:, 0].astype(np.int64) * width + exclude[:, 1])
        margins = np.full(made.ids.shape, -np.inf)
        margins[there] = self.trees.margins(made.features[there], made.start[there])
        return _best(made.ids, margins, k)

    def save(self, file: Path) -> None:
        """Writes the trees as an npz file."""
        with open(file, "wb") as opened:
            arrays = {**self.trees.arrays(), "n_features": np.int64(self.trees.n_features)}
            np.savez(opened, **arrays)  # type: ignore[arg-type]

    @classmethod
    def load(cls, file: Path) -> Self:
        """Reads what `save` wrote; FormatError if it is damaged."""
        with (
            reading(file, wanted="the trees of a learned merge", next_step=RESTORE_FOLDER),
            np.load(file, allow_pickle=False) as found,
        ):
            arrays = {name: found[name] for name in ("features", "thresholds", "values")}
            return cls(BoostedTrees(**arrays, n_features=int(found["n_features"])))


def candidates(mixture: Mixture, found: Found, known: Knowledge, k: int = 5) -> Candidates:
    """The candidates of texts: 25 or k labels of the mixture, and what the index adds."""
    merged = Ranked(*_without_padding(mixture.merge(found.rankings, found.score_types, max(k, MERGED))))
    ranked = [
        Ranked(ids, log_odds(np.where(ids < 0, 0, scores), kind).astype(np.float32))
        for (ids, scores), kind in zip(
            (_without_padding(t) for t in found.rankings), found.score_types, strict=True
        )
    ]
    ids, features = evidence(merged, ranked, found.rows, found.documents, known)
    p = np.maximum(features[:, :, 0].astype(float), LEAST_SCORE) ** 2
    return Candidates(ids, features, log_odds(p, "probability"))


@dataclass(frozen=True)
class SearchedRanking:
    """A ranking that boosted trees correct by what an index finds, fitted on texts that its ranker did not learn.

    calibration: the mixture of the ranking alone. learned: the trees.
    """

    calibration: Mixture
    learned: BoostedMerge

    @classmethod
    def fit(cls, top: TopK, rows: Ranked, documents: Ranked, known: Knowledge, labels: sp.csr_matrix) -> Self:
        """Fits it on texts with labels (n, L), given their ranking, of probabilities, and what is near."""
        calibration = Mixture.fit([top], ["probability"], labels)
        made = candidates(calibration, Found([top], ["probability"], rows, documents), known)
        return cls(calibration, BoostedMerge.fit(made, labels, SEARCHED_TREES))

    def rank(
        self, top: TopK, rows: Ranked, documents: Ranked, known: Knowledge, k: int, exclude: np.ndarray | None
    ) -> TopK:
        """The k best candidates and the probabilities that they are true; fewer than k for a k up to 50."""
        found = Found([top], ["probability"], rows, documents)
        deep = k if k > DEPTH else MERGED
        return self.learned.merge(candidates(self.calibration, found, known, deep), k, exclude)


def roots(top: TopK) -> TopK:
    """The ranking with the square roots of its probabilities, as a mixture gives them."""
    ids, scores = checked_arrays(top)
    return TopK(ids, np.where(ids < 0, -np.inf, np.sqrt(np.where(ids < 0, 0, scores))).astype(np.float32))


def cross_validated(made: Candidates, labels: sp.csr_matrix) -> tuple[int, np.ndarray]:
    """The best number of trees by cross-validation over texts, 0 for the mixture, and the nDCG@5 of each text.

    Trees must gain 0.2 points and a standard error.
    """
    n = len(made.ids)
    without = ndcg(_best(made.ids, np.where(made.ids < 0, -np.inf, made.start), 5), labels)
    scores = np.zeros((len(TREES), n))
    for fold in range(FOLDS):
        tested = np.flatnonzero(np.arange(n) % FOLDS == fold)
        rest = np.setdiff1d(np.arange(n), tested)
        if len(tested) == 0 or labels[rest].nnz == 0:
            return 0, without
        full = BoostedMerge.fit(_cut(made, rest), labels[rest], max(TREES)).trees
        for i, n_trees in enumerate(TREES):
            top = BoostedMerge(full.first(n_trees)).merge(_cut(made, tested), 5)
            scores[i, tested] = ndcg(top, labels[tested])
    gains = scores - without
    best = int(np.argmax(gains.mean(axis=1)))
    gain, error = float(gains[best].mean()), float(gains[best].std() / np.sqrt(n))
    return (TREES[best], scores[best]) if gain > max(GAIN, error) else (0, without)


def crossed_merge(made: Candidates, deep: Candidates, labels: sp.csr_matrix, n_trees: int, k: int) -> TopK:
    """The rankings of texts by trees that were fitted on the texts of the other folds, (n, k).

    Args:
        made: the candidates on which trees are fitted.
        deep: those that are ranked, as many as a prediction of k labels has.
        labels: (n, L) CSR.
        n_trees: the number of trees.
        k: labels per text.
    """
    n = len(made.ids)
    ids, scores = np.full((n, k), -1, np.int64), np.full((n, k), -np.inf, np.float32)
    for fold in range(FOLDS):
        tested = np.flatnonzero(np.arange(n) % FOLDS == fold)
        rest = np.setdiff1d(np.arange(n), tested)
        top = BoostedMerge.fit(_cut(made, rest), labels[rest], n_trees).merge(_cut(deep, tested), k)
        width = top.k
        ids[tested, :width], scores[tested, :width] = top.numpy()
    return TopK(ids, scores)


def ndcg(top: TopK, labels: sp.csr_matrix, k: int = 5) -> np.ndarray:
    """nDCG@k of each text in percent, (n,) float64; 0 for a text without labels."""
    truth = as_truth(labels)
    discounts = 1 / np.log2(np.arange(k) + 2)
    reached = hits(checked_arrays(top)[0][:, :k], truth) @ discounts
    best = best_gains(truth, np.ones(truth.shape[1]), k) @ discounts
    shares: np.ndarray = 100 * reached / np.maximum(best, 1e-12)
    return shares


def _cut(made: Candidates, at: np.ndarray) -> Candidates:
    return Candidates(*(array[at] for array in made))


def _true(made: Candidates, labels: sp.csr_matrix) -> np.ndarray:
    rows = np.repeat(np.arange(len(made.ids)), made.ids.shape[1])
    found = np.asarray(labels.tocsr()[rows, np.maximum(made.ids, 0).ravel()]).reshape(made.ids.shape)
    true: np.ndarray = (found > 0) & (made.ids >= 0)
    return true


def _best(ids: np.ndarray, margins: np.ndarray, k: int) -> TopK:
    """The k best candidates; ties go to the earlier candidate."""
    order = np.argsort(-margins, axis=1, kind="stable")[:, :k]
    margins, ids = np.take_along_axis(margins, order, axis=1), np.take_along_axis(ids, order, axis=1)
    none = ~np.isfinite(margins)
    p = 1 / (1 + np.exp(-np.clip(np.where(none, 0, margins), -500, 500)))
    return TopK(np.where(none, -1, ids), np.where(none, -np.inf, p).astype(np.float32))


def _without_padding(top: TopK) -> tuple[np.ndarray, np.ndarray]:
    """Ids, and scores with 0 for -1."""
    ids, scores = checked_arrays(top)
    return ids, np.where(ids < 0, 0, scores).astype(np.float32)
