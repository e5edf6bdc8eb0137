"""A small problem, cut out of the training texts, on which settings of linear models are compared.

Held-out texts are drawn by a hash of their content, so that copies of a text are on one side. Of the labels, whole
clusters of similar labels are kept with *all* their other texts: a label of the sample is as frequent as in the
training set, and its closest rivals are in the sample too. A sample of texts instead makes every label rarer,
which favors other settings (measured in `docs/log.md`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp
import torch

from megalabel.data.filters import FilterPairs
from megalabel.data.texts import Texts
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.tfidf import l2_rows
from megalabel.inputs.words import TokenPattern
from megalabel.kernels.sparse.hits import hits
from megalabel.labels.cluster import cluster
from megalabel.labels.features import pifa
from megalabel.labels.tree import LabelTree
from megalabel.linear.forest import wide_depths
from megalabel.linear.label_texts import add_label_text_rows
from megalabel.linear.tree import solve_tree
from megalabel.types import Positives

HELD_OUT = 0.2, 5_000  # share of the texts that are held out, and their maximum number
SHARE, LEAST_WORK = 0.12, 300_000  # of the work of a tree over words, and the least in feature values times labels
FOLDED, FOLDS = 2_000, 5  # up to so many texts, each is held out once
FEWEST_CLUSTERS = 4  # clusters of labels in the sample, if there are as many
READ = 1_000  # characters per text that the clustering and the trials read, so that their time is bounded
TOP = 5  # depth of the comparison
PASSES = 4  # of the solver: as accurate as twenty, in half of the time
CPU = torch.device("cpu")


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


class Sample(NamedTuple):
    """Rows of the training set to fit and to measure, and the labels that count, all ascending."""

    fit: np.ndarray
    held: np.ndarray
    labels: np.ndarray


class Trials:
    """Measures settings on several samples, one after the other."""

    def __init__(self, trials: Sequence[Trial]) -> None:
        self._trials = trials

    def measure(self, setting: Setting) -> np.ndarray:
        """nDCG@5 of each held-out text of all samples in percent, (n,) float64."""
        return np.concatenate([trial.measure(setting) for trial in self._trials])


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
    ) -> None:
        self._inputs, self._sample, self._seed = inputs, sample, seed
        self._names = [names[i] for i in sample.labels.tolist()] if len(names) else []
        self.labels = labels[sample.fit][:, sample.labels].tocsr()
        self.truth = labels[sample.held][:, sample.labels].tocsr()
        self._excluded = _excluded(pairs, sample)
        self._weights = None if weights is None else weights[sample.fit]
        self._sides: dict[tuple[str, tuple[int, int] | None], tuple[SparseText, Sides]] = {}
        self._trees: dict[Setting, LabelTree] = {}

    def measure(self, setting: Setting) -> np.ndarray:
        """nDCG@5 of each held-out text in percent, (n,) float64, by one tree."""
        train, held, names = self._weighted(setting)
        features = replace(setting, c=1.0)
        if features not in self._trees:  # one at a time
            depths = wide_depths(len(self._sample.labels))
            self._trees = {features: cluster(pifa(self.labels, train, 1000), depths, seed=self._seed)}
        x, y, added = add_label_text_rows(train, self.labels, names)
        weights = None if self._weights is None else np.concatenate([self._weights, np.ones(len(added))])
        tree = self._trees[features]
        beam = solve_tree(x, y, tree, weights=weights, c=setting.c, max_iter=PASSES, seed=self._seed)
        ids = beam(held, min(TOP, y.shape[1]), self._excluded).numpy()[0]
        return 100 * ndcg(ids, self.truth)

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
            train, held = ([text[:READ] for text in self._inputs[rows]] for rows in self._sample[:2])
            text, x = SparseText.learn_rows(
                train, self._names, vocabulary=1 << 23, pattern=pattern, char_ngrams=lengths
            )
            sides = Sides(x[: len(train)], text.transform(held), x[len(train) :])
            self._sides = {(pattern, lengths): (text, sides)}  # one at a time, as they may be large
        return self._sides[pattern, lengths]


def draw(
    contents: Iterable[bytes], x: sp.csr_matrix, labels: sp.csr_matrix, *, seed: int, share: float = SHARE
) -> list[Sample]:
    """Draws the texts to fit, the texts to measure and the labels that count; for few texts several times.

    Args:
        contents: the N texts, of which equal ones are drawn together.
        x: (N, V) CSR, their words, by which labels are clustered.
        labels: (N, L) CSR.
        seed: seeds all draws.
        share: the share of the work of a tree over words that a tree on the sample may take.

    Returns:
        One sample; five with all labels, which hold out each text once, for at most 2,000 texts. Samples without
        texts to fit or to measure are left out.
    """
    n = labels.shape[0]
    places = _places(contents, seed)
    if n <= FOLDED:
        fold = np.searchsorted(np.sort(places), places) * FOLDS // n  # the same for equal texts
        parts = [(np.flatnonzero(fold != i), np.flatnonzero(fold == i)) for i in range(FOLDS)]
        drawn = [Sample(fit, held, np.arange(labels.shape[1])) for fit, held in parts]
    else:
        most = np.sort(places)[min(int(HELD_OUT[0] * n), HELD_OUT[1]) - 1]
        drawn = [_part(np.flatnonzero(places > most), np.flatnonzero(places <= most), x, labels, seed, share)]
    drawn = [Sample(_labeled(fit, labels, of), _labeled(held, labels, of), of) for fit, held, of in drawn]
    return [sample for sample in drawn if len(sample.fit) and len(sample.held)]


def _part(
    fit: np.ndarray, held: np.ndarray, x: sp.csr_matrix, labels: sp.csr_matrix, seed: int, share: float
) -> Sample:
    """The texts of random clusters of labels, and fewer where these labels have very many texts."""
    per_text = np.diff(x.indptr).astype(np.float64)
    work = labels[fit].T @ per_text[fit]  # of each label: the feature values of its texts
    wanted = max(share * work.sum(), LEAST_WORK)
    random = np.random.default_rng([seed, 2])
    chosen = _clusters(pifa(labels[fit], x[fit], 200), work, wanted, seed, random)
    excess = work[chosen].sum() / wanted
    if excess > 2:
        fit = _labeled(fit, labels, chosen)
        fit = np.sort(random.permutation(fit)[: max(int(len(fit) / excess), 1)])
    return Sample(fit, held, chosen)


def _labeled(rows: np.ndarray, labels: sp.csr_matrix, of: np.ndarray) -> np.ndarray:
    """The rows with at least one of some labels."""
    return rows[np.asarray(labels[rows][:, of].sum(axis=1)).ravel() > 0]


def ndcg(ids: np.ndarray, truth: sp.csr_matrix) -> np.ndarray:
    """nDCG of each row of label ids (n, k), best first: (n,) float64 from 0 to 1; 0 without true labels."""
    discounts = 1 / np.log2(np.arange(2, ids.shape[1] + 2))
    best = np.concatenate([[1.0], np.cumsum(discounts)])[np.minimum(np.diff(truth.indptr), ids.shape[1])]
    return np.asarray((hits(ids, truth) * discounts).sum(axis=1) / best)


def _clusters(
    features: sp.csr_matrix, work: np.ndarray, wanted: float, seed: int, random: np.random.Generator
) -> np.ndarray:
    """The labels of random clusters, ascending: as many clusters as do the wanted work, but some."""
    tree = cluster(features, wide_depths(len(work))[-1:], seed=seed)
    leaves = np.split(tree.order, tree.offsets[0][1:-1])
    chosen: list[np.ndarray] = []
    done = 0.0
    for i in random.permutation(len(leaves)).tolist():
        if done >= wanted and len(chosen) >= FEWEST_CLUSTERS:
            break
        chosen.append(leaves[i])
        done += float(work[leaves[i]].sum())
    return np.sort(np.concatenate(chosen))


def _places(contents: Iterable[bytes], seed: int) -> np.ndarray:
    """A uniform number for each text, which depends on its content and the seed alone: (N,) uint64."""
    key = int(seed).to_bytes(8, "little")
    digests = b"".join(hashlib.blake2b(content, digest_size=8, key=key).digest() for content in contents)
    return np.frombuffer(digests, dtype="<u8")


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
    return FilterPairs(np.stack(moved, axis=1), len(sample.held)).for_rows(np.arange(len(sample.held)), CPU)
