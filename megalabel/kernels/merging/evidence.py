"""Candidate labels of each text and what speaks for them: features of a model that merges rankings.

Candidates are, in this order and without repetition, the labels of a merged ranking, those with the most votes of
the nearest training texts, those of the nearest label documents, and those that occur most often beside the first
merged labels. With s the scores of the merged ranking, p = s² and t₁, t₂ its first two labels, label l has:

    s[l], 1 / rank[l]                     0 without a place in the merged ranking
    z_i[l], 1 / rank_i[l]                 of ranking i; without a place, the lowest z of the text minus 1, and 0
    votes[l]                              Σ sim_r² [r has l] / Σ sim_r² over the nearest texts r
    near votes[l]                         Σ sim_r [r has l] / Σ sim_r over the first NEAR of them
    nearest[l]                            max sim_r [r has l]
    document[l]                           similarity of the text and the label's document
    beside[l]                             Σ p[j] · P(l | j) over the first BESIDE merged labels j ≠ l
    P(l | t₁), P(t₁ | l), P(l | t₂), P(t₂ | l)     -1 for the label itself
    s[t₁], s[t₂], Σ p over the first five, the largest similarity of a text and of a label document

The number of texts of a label is no feature: data sets often keep the labels with some number of training texts,
so that rare labels are true more often on held-out training texts than elsewhere (docs/log.md).

P(l | j) is stored in a matrix C, and P(j | l) = C[j, l] · (count[j] + 2) / (count[l] + 2), see
`retrieval/co_occurrence.py`. The plain version below is the reference; the numba version is in `_cpu/evidence.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.merging.ranked import (
    BESIDE,
    BESIDES,
    DOCUMENTED,
    FURTHER,
    NEAR,
    NO_RANKING,
    OWN,
    VOTED,
    Knowledge,
    Ranked,
)

_COMPILED = Operation(__package__, "evidence", enough_work=1 << 5)  # candidates: a text already


def n_features(n_rankings: int) -> int:
    """The number of features of candidates."""
    return 2 + 2 * n_rankings + FURTHER


def evidence(
    merged: Ranked, rankings: list[Ranked], rows: Ranked, documents: Ranked, known: Knowledge
) -> tuple[np.ndarray, np.ndarray]:
    """The candidates of n texts and their features.

    Args:
        merged: labels of the merged ranking and scores from 0 to 1, at least one column.
        rankings: labels of each ranking and their log-odds.
        rows: the nearest training texts and their similarities, above 0; zero columns for none.
        documents: labels of the nearest label documents and their similarities, above 0; zero columns for none.
        known: the labels of training texts, and how labels occur together.

    Returns:
        Labels (n, C) int64, -1 where there are fewer, and features (n, C, F) float32, 0 there.

    Raises:
        DataError: an id out of range, or arrays of different shapes.
    """
    n_labels = len(known.counts)
    tables = [merged, *rankings, documents]
    if any(t.ids.shape != t.scores.shape or len(t.ids) != len(merged.ids) for t in (*tables, rows)):
        raise DataError(
            f"rankings of shapes {[t.ids.shape for t in (*tables, rows)]}",
            wanted="ids and scores of the same texts",
            where="rankings",
        )
    highest = max(int(t.ids.max(initial=-1)) for t in tables)
    if highest >= n_labels or int(rows.ids.max(initial=-1)) >= known.row_labels.shape[0]:
        raise DataError(
            f"label {highest} of {n_labels}, row {int(rows.ids.max(initial=-1))} of {known.row_labels.shape[0]}",
            wanted="ids within range",
            where="rankings",
        )
    width = (
        merged.ids.shape[1] + (VOTED if rows.ids.shape[1] else 0) + (DOCUMENTED if documents.ids.shape[1] else 0)
    )
    shape = len(merged.ids), width + BESIDES
    found = np.full(shape, -1, np.int64), np.zeros((*shape, n_features(len(rankings))), np.float32)
    fast: Any = _COMPILED.for_work(found[0].size)
    if fast is not None:
        fast.gather(merged, rankings, rows, documents, known, *found)
        return found
    for text in range(len(merged.ids)):
        one = [Ranked(t.ids[text], t.scores[text]) for t in (merged, rows, documents)]
        _of_text(
            one, [Ranked(t.ids[text], t.scores[text]) for t in rankings], known, found[0][text], found[1][text]
        )
    return found


def _pairs(ranked: Ranked) -> list[tuple[int, float]]:
    return [(int(i), float(s)) for i, s in zip(ranked.ids, ranked.scores, strict=True) if i >= 0]


def _of_text(
    one: list[Ranked], rankings: list[Ranked], known: Knowledge, ids: np.ndarray, features: np.ndarray
) -> None:
    merged, rows, documents = map(_pairs, one)
    counts = known.counts
    votes, near, nearest = _votes(rows, known.row_labels)
    beside: dict[int, float] = {}
    given: list[dict[int, float]] = []
    for label, score in merged[:BESIDE]:
        line = known.beside[label]
        given.append(dict(zip(line.indices.tolist(), line.data.tolist(), strict=True)))
        for other, p in given[-1].items():
            if other != label:
                beside[other] = beside.get(other, 0.0) + score**2 * p
    ranked = [{i: (s, 1 / (at + 1)) for at, (i, s) in enumerate(_pairs(r))} for r in (one[0], *rankings)]
    lowest = [min((s for s, _ in r.values()), default=NO_RANKING) - 1 for r in ranked]
    candidates = dict.fromkeys([i for i, _ in merged])
    candidates |= dict.fromkeys(_best(votes, VOTED))
    candidates |= dict.fromkeys([i for i, _ in documents[:DOCUMENTED]])
    candidates |= dict.fromkeys(_best(beside, BESIDES))
    named = dict(documents)
    firsts = [*merged[:2], *[(-1, 0.0)] * 2][:2]
    for at, label in enumerate(candidates):
        line = [*ranked[0].get(label, (0.0, 0.0))]
        for i, r in enumerate(ranked[1:], 1):
            line += r.get(label, (lowest[i], 0.0))
        line += [votes.get(label, 0.0), near.get(label, 0.0), nearest.get(label, 0.0), named.get(label, 0.0)]
        line.append(beside.get(label, 0.0))
        for i, (first, _) in enumerate(firsts):
            p = given[i].get(label, 0.0) if first >= 0 else 0.0
            line += [OWN] * 2 if first == label else [p, p * (counts[first] + 2) / (counts[label] + 2)]
        line += [*(s for _, s in firsts), sum(s**2 for _, s in merged[:5])]
        line += [max((s for _, s in pairs), default=0.0) for pairs in (rows, documents)]
        ids[at], features[at] = label, line


def _votes(
    rows: list[tuple[int, float]], row_labels: sp.csr_matrix
) -> tuple[dict[int, float], dict[int, float], dict[int, float]]:
    """Votes, near votes and the nearest similarity of each label of some rows."""
    votes: dict[int, float] = {}
    near: dict[int, float] = {}
    nearest: dict[int, float] = {}
    squares, sums = sum(s**2 for _, s in rows) or 1.0, sum(s for _, s in rows[:NEAR]) or 1.0
    for at, (row, s) in enumerate(rows):
        line = row_labels[row]
        for label in line.indices[line.data > 0].tolist():
            votes[label] = votes.get(label, 0.0) + s**2 / squares
            near[label] = near.get(label, 0.0) + (s / sums if at < NEAR else 0.0)
            nearest[label] = max(nearest.get(label, 0.0), s)
    return votes, near, nearest


def _best(scores: dict[int, float], k: int) -> list[int]:
    return sorted((label for label in scores if scores[label] > 0), key=lambda label: (-scores[label], label))[:k]
