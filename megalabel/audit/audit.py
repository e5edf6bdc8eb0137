"""Finds labels that are probably missing or wrong, by what the other texts say about each text.

Wrong labels: boosted trees learn to tell given pairs of a text and a label from pairs of a text and a random
label. A given pair that looks like a random one is probably wrong, with the confidence

    π r,   r = P(features | random) / P(features | given)

As given pairs are a mixture of right and of wrong ones, π r is at most 1, and the share π of wrong pairs is
estimated as 1 / r where r is largest. Missing labels: further trees learn which of the best labels by out-of-fold
scores and nearest texts are given. A label that is not given with the probability p of being given is probably
missing; its confidence is π p / (π p + 1 − p), as if as many labels were missing as are wrong. Boosted trees have
few parameters, so that they are not fitted on other pairs than they judge. The audit reads the training split.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from typing import NamedTuple

import numpy as np

from megalabel.audit.evidence import NAMES, PATH_NAMES, Known, features, gather, path_features
from megalabel.audit.finding import KINDS, Kind, LabelFinding, check_kinds
from megalabel.audit.pairs import values_at
from megalabel.audit.synonyms import label_findings
from megalabel.data.types import CorpusData
from megalabel.errors import DataError, SettingError
from megalabel.inputs.sparse_text import SparseText
from megalabel.retrieval.boosted import BoostedTrees

SAMPLE = 60_000  # pairs of each side from which the trees are fitted
TREES = 200
UNIFORM = 0.75  # share of the random labels that are drawn uniformly; the others by their frequency
CANDIDATES = 10  # labels of each text that may be missing
SHOWN = 200  # characters of a text in a finding
LARGEST, LEAST = 500, 1e-3  # one pair in so many shows the share of wrong ones; the least share that is assumed
ALL_NAMES = (*NAMES, *PATH_NAMES)
# The frequency of a label is no sign of a wrong pair: it would only say how random labels were drawn.
JUDGING = [i for i, name in enumerate(ALL_NAMES) if name != "texts"]
FEWEST = 20  # texts and pairs below which an audit says nothing


class Judged(NamedTuple):
    """P pairs with their confidence, best first, and their features (P, F)."""

    rows: np.ndarray
    columns: np.ndarray
    confidence: np.ndarray
    features: np.ndarray


def audit(
    data: CorpusData,
    *,
    kinds: Iterable[str] = KINDS,
    most: int = 1000,
    folds: int = 2,
    seed: int = 0,
    say: Callable[[str], object] = lambda line: None,
) -> list[LabelFinding]:
    """Audits the labels of the training texts of a data set.

    Args:
        data: the data set; its training split needs texts.
        kinds: which findings: "wrong", "missing", "duplicate", "synonym".
        most: findings of each kind, 1 or more.
        folds: K of the out-of-fold scores, 2 or more.
        seed: of the folds, the trees and the random pairs; 0 or more.
        say: takes a line of text per step.

    Returns:
        The findings; kinds take turns, and each kind is in the order of its confidence.

    Raises:
        DataError: bags of words, or fewer than 20 texts with labels.
        SettingError: an unknown kind, or a number out of range.
    """
    chosen = check_kinds(kinds)
    for name, value, least in (("most", most, 1), ("folds", folds, 2), ("seed", seed, 0)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise SettingError.range(name, value, least, integer=True)
    known = _known(data, folds, seed, say)
    say("judging pairs of a text and a label")
    found: list[LabelFinding] = []
    share = LEAST
    if "wrong" in chosen or "missing" in chosen:
        wrong, share = judged_wrong(known, seed)
        found += _of_pairs(data, "wrong", wrong, most) if "wrong" in chosen else []
    if "missing" in chosen:
        found += _of_pairs(data, "missing", judged_missing(known, share, seed), most)
    found += label_findings(data.label_texts, known, [k for k in chosen if k in ("duplicate", "synonym")], most)
    places = {kind: count() for kind in chosen}
    return [finding for _, finding in sorted(((next(places[f.kind]), f) for f in found), key=lambda pair: pair[0])]


def _known(data: CorpusData, folds: int, seed: int, say: Callable[[str], object]) -> Known:
    train = data.train
    if train.features is not None:
        raise DataError(
            f"{data.name} holds bag-of-words features and no texts", wanted="texts with labels", where=data.path
        )
    labels = (train.labels > 0).astype(np.float32).tocsr()
    n_labeled = int((np.diff(labels.indptr) > 0).sum())
    if folds > n_labeled >= FEWEST:
        raise SettingError(
            f"{folds:,} folds of {n_labeled:,} training texts with labels",
            wanted="at most as many folds as texts",
            next_step="2 folds, the default, are enough",
            where="folds",
        )
    if n_labeled < FEWEST or labels.nnz < FEWEST:
        raise DataError(
            f"{data.name} has {n_labeled} training texts with labels", wanted=f"{FEWEST} or more", where=data.path
        )
    say(f"reading {len(train):,} texts")
    text, x = SparseText.learn_rows(train.texts, bigrams=False, min_texts=1 if len(train) < 1000 else 2)
    return gather(x, text.transform(data.label_texts), labels, folds, seed, say)


def judged_wrong(known: Known, seed: int) -> tuple[Judged, float]:
    """All given pairs with the confidence that they are wrong, and the estimated share of wrong ones."""
    labels, random = known.labels, np.random.default_rng(seed)
    n, n_labels = labels.shape
    rows = np.repeat(np.arange(n), np.diff(labels.indptr))
    columns = labels.indices.astype(np.int64)
    own = _with_paths(known, rows, columns)
    at = random.permutation(len(rows))[:SAMPLE]
    some = rows[at]
    other = np.where(
        random.random(len(at)) < UNIFORM,
        random.integers(0, n_labels, len(at)),
        random.permutation(columns)[: len(at)],
    )
    free = values_at(labels, some, other) == 0
    drawn = _with_paths(known, some[free], other[free])
    both = np.concatenate([own[at], drawn])[:, JUDGING]
    true = np.arange(len(both)) < len(at)
    start = np.full(len(both), np.log(len(at) / max(len(drawn), 1)))
    trees = BoostedTrees.fit(both, true, start, TREES)
    # The logarithm of P(features | given) / P(features | random).
    margin = trees.margins(own[:, JUDGING], np.zeros(len(own)))
    ratio = np.exp(-np.clip(margin, -30, 30))
    most = np.sort(ratio)[-max(len(ratio) // LARGEST, 20) :]
    share = float(np.clip(1 / most.mean(), LEAST, 0.5))
    return _ordered(rows, columns, np.minimum(share * ratio, 1), own, -margin), share


def _with_paths(known: Known, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return np.concatenate([features(known, rows, columns), path_features(known, rows, columns)], axis=1)


def judged_missing(known: Known, share: float, seed: int) -> Judged:
    """The best labels that texts do not have, with the confidence that they are missing."""
    rows, columns = _candidates(known)
    found = features(known, rows, columns)
    given = values_at(known.labels, rows, columns) > 0
    at = np.random.default_rng(seed).permutation(len(rows))[: 2 * SAMPLE]
    rate = float(np.clip(given[at].mean(), 1e-4, 1 - 1e-4)) if len(at) else 0.5
    start = np.full(len(rows), np.log(rate / (1 - rate)))
    trees = BoostedTrees.fit(found[at], given[at], start[at], TREES)
    margin = trees.margins(found, start)[~given]
    odds = share * np.exp(np.clip(margin, -30, 30))
    return _ordered(rows[~given], columns[~given], odds / (1 + odds), found[~given], margin)


def _candidates(known: Known) -> tuple[np.ndarray, np.ndarray]:
    """The best `CANDIDATES` labels of each text by trees, and by votes: P pairs of text and label."""
    n, n_labels = known.labels.shape
    parts = []
    for start in range(0, n, 8192):
        block = slice(start, min(start + 8192, n))
        for scores in (known.rank[block], (known.near[block] @ known.labels).tocsr()):
            rows = np.repeat(np.arange(scores.shape[0]), np.diff(scores.indptr))
            order = np.lexsort((-scores.data, rows))
            place = np.arange(len(order)) - scores.indptr[rows[order]]
            best = order[place < CANDIDATES]
            parts.append((start + rows[best]) * np.int64(n_labels) + scores.indices[best])
    pairs = np.unique(np.concatenate(parts))
    return pairs // n_labels, pairs % n_labels


def _ordered(
    rows: np.ndarray, columns: np.ndarray, confidence: np.ndarray, found: np.ndarray, keys: np.ndarray
) -> Judged:
    order = np.argsort(-keys, kind="stable")
    return Judged(rows[order], columns[order], confidence[order], found[order])


def _of_pairs(data: CorpusData, kind: Kind, judged: Judged, most: int) -> list[LabelFinding]:
    return [
        LabelFinding(
            kind,
            data.label_texts[int(column)],
            int(column),
            round(float(confidence), 6),
            int(row),
            data.train.texts[int(row)][:SHOWN],
            evidence={name: round(float(value), 4) for name, value in zip(ALL_NAMES, values, strict=False)},
        )
        for row, column, confidence, values in zip(*(part[:most] for part in judged), strict=True)
    ]
