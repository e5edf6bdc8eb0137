"""Numba implementation of `merging/evidence.py`.

A thread has a line of sums per label in one cache line or two, all zero before and after a text, and the list of
the labels whose lines are not zero.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled, helper
from megalabel.kernels.core._cpu.heaps import offer, sink
from megalabel.kernels.core.threads import parallel_for
from megalabel.kernels.merging._cpu.evidence_features import (
    DOCUMENT,
    GIVEN,
    NEAR_VOTES,
    NEAREST,
    PLACE,
    SIDE,
    TOUCHED,
    VOTES,
    describe,
)
from megalabel.kernels.merging.ranked import BESIDE, BESIDES, DOCUMENTED, NEAR, VOTED, Knowledge, Ranked

_BLOCK = 64  # texts per task
_WIDTH = 9  # sums of a label


class Texts(NamedTuple):
    """The rankings of all texts: ids and scores of each kind; those of the P rankings in one array (P, n, k)."""

    merged: np.ndarray
    merged_scores: np.ndarray
    ranked: np.ndarray
    ranked_scores: np.ndarray
    rows: np.ndarray
    similarities: np.ndarray
    documents: np.ndarray
    document_similarities: np.ndarray


class Tables(NamedTuple):
    """The arrays of `Knowledge`."""

    row_indptr: np.ndarray
    row_labels: np.ndarray
    row_values: np.ndarray
    side_indptr: np.ndarray
    side_labels: np.ndarray
    side_values: np.ndarray
    counts: np.ndarray


class Scratch(NamedTuple):
    """A thread's memory: sums (L, _WIDTH), the touched labels (L,), and a heap."""

    sums: np.ndarray
    touched: np.ndarray
    keys: np.ndarray
    labels: np.ndarray


def gather(
    merged: Ranked,
    rankings: list[Ranked],
    rows: Ranked,
    documents: Ranked,
    known: Knowledge,
    ids: np.ndarray,
    features: np.ndarray,
) -> None:
    """Fills the candidates (n, C) and their features (n, C, F)."""
    n, deepest = len(merged.ids), max((r.ids.shape[1] for r in rankings), default=0)
    ranked = np.full((len(rankings), n, deepest), -1, np.int64), np.zeros((len(rankings), n, deepest), np.float32)
    for i, one in enumerate(rankings):
        ranked[0][i, :, : one.ids.shape[1]], ranked[1][i, :, : one.ids.shape[1]] = one
    parts = [(np.ascontiguousarray(t.ids, np.int64), np.ascontiguousarray(t.scores, np.float32)) for t in
             (merged, rows, documents)]  # fmt: skip
    texts = Texts(*parts[0], *ranked, *parts[1], *parts[2])
    arrays = [np.asarray(a) for m in (known.row_labels, known.beside) for a in (m.indptr, m.indices, m.data)]
    tables = Tables._make([*arrays, np.ascontiguousarray(known.counts, np.float32)])
    n_labels, scratch = len(known.counts), {}

    def work(worker: int, block: int) -> None:
        if worker not in scratch:
            most = max(VOTED, BESIDES)
            scratch[worker] = Scratch(
                np.zeros((n_labels, _WIDTH), np.float32),
                np.zeros(n_labels, np.int64),
                np.zeros(most, np.float32),
                np.zeros(most, np.int64),
            )
        first, last = block * _BLOCK, min((block + 1) * _BLOCK, n)
        gather_texts(texts, tables, scratch[worker], first, last, ids, features)

    parallel_for(work, -(-n // _BLOCK))


@compiled
def gather_texts(texts, tables, scratch, first, last, ids, features):
    """Candidates and features of the texts first … last − 1."""
    sums, touched = scratch.sums, scratch.touched
    for text in range(first, last):
        size = _vote(texts, tables, sums, touched, 0, text)
        documents = texts.documents[text]
        for at in range(len(documents)):
            if documents[at] >= 0:
                size = _touch(sums, touched, size, documents[at])
                sums[documents[at], DOCUMENT] = texts.document_similarities[text, at]
        size = _look_beside(texts, tables, sums, touched, size, text)
        n = 0
        merged = texts.merged[text]
        for at in range(len(merged)):
            if merged[at] >= 0:
                size = _touch(sums, touched, size, merged[at])
                n = _add(sums, ids[text], n, merged[at])
        if texts.rows.shape[1] > 0:
            n = _add_best(scratch, size, VOTES, VOTED, ids[text], n)
        for at in range(min(len(documents), DOCUMENTED)):
            if documents[at] >= 0:
                n = _add(sums, ids[text], n, documents[at])
        n = _add_best(scratch, size, SIDE, BESIDES, ids[text], n)
        describe(texts, tables, sums, text, ids[text], n, features[text])
        for i in range(size):
            sums[touched[i]] = 0


@helper
def _touch(sums, touched, size, label):
    """Lists a label unless it is listed; returns the new size of the list."""
    if sums[label, TOUCHED] == 0:
        sums[label, TOUCHED] = 1
        touched[size] = label
        return size + 1
    return size


@helper
def _add(sums, ids, n, label):
    """Makes a label a candidate unless it is one; returns the new number of candidates."""
    if sums[label, PLACE] == 0:
        ids[n] = label
        sums[label, PLACE] = n + 1
        return n + 1
    return n


@helper
def _add_best(scratch, size, which, k, ids, n):
    """Makes the k labels with the largest positive sums candidates; returns the new number of candidates."""
    keys, labels, found = scratch.keys, scratch.labels, 0
    for i in range(size):
        label = scratch.touched[i]
        if scratch.sums[label, which] > 0:
            found = offer(keys, labels, found, k, scratch.sums[label, which], label)
    ordered = found
    while found > 0:  # the root is the last in rank, and takes the place behind the rest of the heap
        found -= 1
        key, label = keys[0], labels[0]
        if found > 0:
            sink(keys, labels, found, keys[found], labels[found])
        keys[found], labels[found] = key, label
    for i in range(ordered):
        n = _add(scratch.sums, ids, n, labels[i])
    return n


@helper
def _vote(texts, tables, sums, touched, size, text):
    """Adds the votes of the nearest rows; returns the new size of the list."""
    squares, plain = np.float32(0), np.float32(0)
    rows, similarities = texts.rows[text], texts.similarities[text]
    for at in range(len(rows)):
        if rows[at] >= 0:
            squares += similarities[at] * similarities[at]
            plain += similarities[at] if at < NEAR else np.float32(0)
    for at in range(len(rows)):
        row, s = rows[at], similarities[at]
        if row < 0 or s <= 0:
            continue
        for i in range(tables.row_indptr[row], tables.row_indptr[row + 1]):
            if tables.row_values[i] <= 0:
                continue
            label = tables.row_labels[i]
            size = _touch(sums, touched, size, label)
            sums[label, VOTES] += s * s / squares
            if at < NEAR:
                sums[label, NEAR_VOTES] += s / plain
            sums[label, NEAREST] = max(sums[label, NEAREST], s)
    return size


@helper
def _look_beside(texts, tables, sums, touched, size, text):
    """Adds what occurs beside the first merged labels; returns the new size of the list."""
    merged, scores = texts.merged[text], texts.merged_scores[text]
    for at in range(min(len(merged), BESIDE)):
        label = merged[at]
        if label < 0:
            break
        p = scores[at] * scores[at]
        for i in range(tables.side_indptr[label], tables.side_indptr[label + 1]):
            other = tables.side_labels[i]
            size = _touch(sums, touched, size, other)
            if other != label:
                sums[other, SIDE] += p * tables.side_values[i]
            if at < 2:
                sums[other, GIVEN + at] = tables.side_values[i]
    return size
