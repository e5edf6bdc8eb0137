"""The sample of a training set on which settings of linear models are compared.

Held-out texts are drawn by a hash of their content, so that copies of a text are on one side. Of the labels, whole
clusters of similar labels are kept with *all* their other texts: a label of the sample is as frequent as in the
training set, and its closest rivals are in the sample too. A sample of texts instead makes every label rarer,
which favors other settings (measured in `docs/log.md`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.labels.cluster import cluster
from megalabel.labels.features import pifa
from megalabel.linear.forest import wide_depths

HELD_OUT = 0.2, 5_000  # share of the texts that are held out, and their maximum number
SHARE, LEAST_WORK = 0.12, 300_000  # of the work of a tree over words, and the least in feature values times labels
FOLDED, FOLDS = 2_000, 5  # with at most 2,000 texts, each is held out once, in five folds
FEWEST_CLUSTERS = 4  # clusters of labels in the sample, if there are as many


class Sample(NamedTuple):
    """Rows of the training set to fit and to measure, and the labels that count, all ascending."""

    fit: np.ndarray
    held: np.ndarray
    labels: np.ndarray


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


def _clusters(
    features: sp.csr_matrix, work: np.ndarray, wanted: float, seed: int, random: np.random.Generator
) -> np.ndarray:
    """The labels of random clusters, ascending: clusters until they do the wanted work, and at least four."""
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
