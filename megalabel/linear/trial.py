"""Measures settings of linear models on a small problem that `sample.py` cuts out of the training texts."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, NamedTuple, Self

import numpy as np
import scipy.sparse as sp

from megalabel.data.filters import FilterPairs
from megalabel.data.texts import Texts
from megalabel.distributed.objects import broadcast_object
from megalabel.distributed.world import World
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.tfidf import l2_rows
from megalabel.inputs.words import TokenPattern
from megalabel.kernels.sparse.hits import hits
from megalabel.labels.cluster import cluster
from megalabel.labels.features import pifa
from megalabel.labels.tree import LabelTree
from megalabel.linear.forest import wide_depths
from megalabel.linear.label_texts import add_label_text_rows
from megalabel.linear.over_ranks import shared_trees
from megalabel.linear.sample import Sample
from megalabel.linear.tree import ALONE, solve_tree
from megalabel.progress import Progress
from megalabel.types import Positives

SAVES = 1.5  # characters of whole texts over those of beginnings, from which on beginnings are tried
READ = 1_000  # characters per text that the clustering reads, and trials of beginnings
TOP = 5  # depth of the comparison
PASSES = 4  # of the solver: scores within 0.1 of those of 20, in half of the time (docs/log.md)


@dataclass(frozen=True)
class Setting:
    """What is chosen.

    Attributes:
        token_pattern: how texts are split; see `split_words`.
        bigram_weight: what the idf of bigrams is multiplied by; 0 for no bigrams.
        char_ngrams: the least and the largest length of character n-grams; None for none.
        c: the weight of the loss.
    """

    token_pattern: TokenPattern = "letters"
    bigram_weight: float = 1.0
    char_ngrams: tuple[int, int] | None = None
    c: float = 1.0


class Sides(NamedTuple):
    """Features of training texts, held-out texts and label texts, in one vocabulary."""

    train: sp.csr_matrix
    held: sp.csr_matrix
    names: sp.csr_matrix


class Trials:
    """Measures settings on several samples, one after the other.

    shown: counts the settings that were measured; None for nobody.
    """

    def __init__(self, trials: Sequence[Trial], shown: Progress | None = None) -> None:
        self._trials, self.shown = trials, shown

    def measure(self, setting: Setting) -> np.ndarray:
        """nDCG@5 of each held-out text of all samples in percent, (n,) float64."""
        found = np.concatenate([trial.measure(setting) for trial in self._trials])
        if self.shown is not None:
            self.shown.advance()
        return found

    def of_beginnings(self) -> Self:
        """Trials on the first 1,000 characters of each text; the trials themselves where that saves little."""
        trials = self._trials
        if sum(trial.characters() for trial in trials) < SAVES * sum(trial.characters(READ) for trial in trials):
            return self
        return type(self)([trial.of_beginnings() for trial in trials], self.shown)


class Trial:
    """Measures settings on a sample.

    Args:
        inputs: N training texts, or bags of words, (N, V) float32 CSR with rows of length 1.
        labels: (N, L) CSR.
        names: the L label texts as further training rows; empty for none.
        pairs: (F, 2) int64 pairs (row, label) that are left out of rankings, or None.
        sample: the texts and labels.
        seed: seeds the clustering and the solver.
        weights: (N,) of the training texts; None for 1 each. Label texts weigh 1.
        world: the processes that divide the work of each trial; all of them measure the same.
    """

    def __init__(
        self,
        inputs: Texts | sp.csr_matrix,
        labels: sp.csr_matrix,
        names: Sequence[str],
        pairs: np.ndarray | None,
        sample: Sample,
        seed: int,
        weights: np.ndarray | None = None,
        world: World = ALONE,
    ) -> None:
        self._inputs, self._sample, self._seed, self._read = inputs, sample, seed, sys.maxsize
        self._world = world
        self._names = [names[i] for i in sample.labels.tolist()] if len(names) else []
        self.labels = labels[sample.fit][:, sample.labels].tocsr()
        self.truth = labels[sample.held][:, sample.labels].tocsr()
        self._excluded = _excluded(pairs, sample)
        self._weights = None if weights is None else weights[sample.fit]
        self._sides: dict[tuple[str, tuple[int, int] | None], tuple[SparseText, Sides]] = {}
        self._trees: dict[Setting, LabelTree] = {}

    def of_beginnings(self) -> Self:
        """The same trial on the first 1,000 characters of each text."""
        cut = copy(self)
        cut._read, cut._sides, cut._trees = READ, {}, {}
        return cut

    def characters(self, read: int = sys.maxsize) -> int:
        """The characters of all texts to fit, of each at most `read`; 1 for bags of words."""
        return (
            1
            if sp.issparse(self._inputs)
            else sum(min(len(text), read) for text in self._inputs[self._sample.fit])
        )

    def measure(self, setting: Setting) -> np.ndarray:
        """nDCG@5 of each held-out text in percent, (n,) float64, by one tree."""
        train, held, names = self._weighted(setting)
        features = replace(setting, c=1.0)
        if features not in self._trees:  # one at a time
            depths = wide_depths(len(self._sample.labels))
            make = partial(_clustered, self.labels, train, depths, self._seed)
            self._trees = {features: shared_trees([make], self._world)[0]}
        x, y, added = add_label_text_rows(train, self.labels, names)
        weights = None if self._weights is None else np.concatenate([self._weights, np.ones(len(added))])
        tree = self._trees[features]
        solver: dict[str, Any] = {
            "weights": weights,
            "c": setting.c,
            "max_iter": PASSES,
            "seed": self._seed,
            "world": self._world,
        }
        beam = solve_tree(x, y, tree, **solver)
        top = None if beam is None else beam(held, min(TOP, y.shape[1]), self._excluded).numpy()[0]
        scores: np.ndarray = broadcast_object(None if top is None else 100 * ndcg(top, self.truth), self._world)
        return scores

    def _weighted(self, setting: Setting) -> Sides:
        if sp.issparse(self._inputs):
            return Sides(self._inputs[self._sample.fit], self._inputs[self._sample.held], self._inputs[:0])
        text, sides = self._features(setting.token_pattern, setting.char_ngrams)
        if setting.bigram_weight == 1:
            return sides
        first, last = len(text.words), len(text.words) + len(text.bigrams)
        return Sides(*(_reweighted(side, first, last, setting.bigram_weight) for side in sides))

    def _features(self, pattern: TokenPattern, lengths: tuple[int, int] | None) -> tuple[SparseText, Sides]:
        if (pattern, lengths) not in self._sides:
            train, held = ([text[: self._read] for text in self._inputs[rows]] for rows in self._sample[:2])
            text, x = SparseText.learn_rows(
                train, self._names, vocabulary=1 << 23, pattern=pattern, char_ngrams=lengths
            )
            sides = Sides(x[: len(train)], text.transform(held), x[len(train) :])
            self._sides = {(pattern, lengths): (text, sides)}  # one at a time, as they may be large
        return self._sides[pattern, lengths]


def _clustered(labels: sp.csr_matrix, x: sp.csr_matrix, depths: tuple[int, ...], seed: int) -> LabelTree:
    return cluster(pifa(labels, x, 1000), depths, seed=seed)


def ndcg(ids: np.ndarray, truth: sp.csr_matrix) -> np.ndarray:
    """nDCG of each row of label ids (n, k), best first: (n,) float64 from 0 to 1; 0 without true labels."""
    discounts = 1 / np.log2(np.arange(2, ids.shape[1] + 2))
    best = np.concatenate([[1.0], np.cumsum(discounts)])[np.minimum(np.diff(truth.indptr), ids.shape[1])]
    return np.asarray((hits(ids, truth) * discounts).sum(axis=1) / best)


def _reweighted(rows: sp.csr_matrix, first: int, last: int, weight: float) -> sp.csr_matrix:
    """The rows with the columns from `first` to below `last` multiplied by a weight, scaled to length 1 again."""
    if weight == 0:
        return l2_rows(sp.hstack([rows[:, :first], rows[:, last:]], format="csr", dtype=np.float32))
    factors = np.ones(rows.shape[1], dtype=np.float32)
    factors[first:last] = weight
    return l2_rows(sp.csr_matrix((rows.data * factors[rows.indices], rows.indices, rows.indptr), shape=rows.shape))


def _excluded(pairs: np.ndarray | None, sample: Sample) -> Positives | None:
    """The pairs of held-out texts and labels of the sample, by their positions in it."""
    if pairs is None or len(pairs) == 0:
        return None
    inside = np.isin(pairs[:, 0], sample.held) & np.isin(pairs[:, 1], sample.labels)
    moved = [np.searchsorted(part, column) for part, column in zip(sample[1:], pairs[inside].T, strict=True)]
    return FilterPairs(np.stack(moved, axis=1), len(sample.held)).for_rows(np.arange(len(sample.held)), "cpu")
