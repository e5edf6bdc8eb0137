"""Numba implementation of `clustering/label_walks.py`, with the same random numbers, label by label."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.core._cpu.compiling import compiled, helper
from megalabel.kernels.core._cpu.csr import tight
from megalabel.kernels.core._cpu.streams import below, stream_number
from megalabel.kernels.core.threads import parallel_for

_PIECE = 1 << 9  # labels that a thread processes at a time
_LOW = np.uint64(0xFFFFFFFF)


class Graph(NamedTuple):
    """The labels of each text, and the texts of each label."""

    text_indptr: np.ndarray
    text_labels: np.ndarray
    label_indptr: np.ndarray
    label_texts: np.ndarray


class Rules(NamedTuple):
    """The length of a walk, the restart probability of a step, and the number of labels that are kept."""

    hops: int
    p_reset: float
    top: int


def counts_of_walks(
    labels: sp.csr_matrix, texts: sp.csr_matrix, keys: np.ndarray, hops: int, p_reset: float, top: int
) -> sp.csr_matrix:
    """Counts the labels that walks reach; `texts` is the transpose of `labels`, and there is one key per label."""
    n = labels.shape[1]
    room = min(top + 1, hops + 1, n)
    indptr = np.arange(n + 1, dtype=np.int64) * room
    columns = np.empty(indptr[-1], dtype=np.int32 if n < 1 << 31 else np.int64)
    values = np.empty(indptr[-1], dtype=np.float32)
    counts = np.zeros(n, dtype=np.int64)
    graph = Graph(labels.indptr, labels.indices, texts.indptr, texts.indices)
    rules = Rules(hops, p_reset, top)
    scratch: dict[int, tuple[np.ndarray, np.ndarray]] = {}

    def work(worker: int, piece: int) -> None:
        if worker not in scratch:
            scratch[worker] = np.zeros(n, dtype=np.int32), np.empty(min(hops, n), dtype=np.int64)
        first, last = piece * _PIECE, min((piece + 1) * _PIECE, n)
        walk(graph, keys, first, last, rules, *scratch[worker], indptr, columns, values, counts)

    parallel_for(work, -(-n // _PIECE))
    return tight(indptr, columns, values, counts, (n, n))


@helper
def _drawn(indptr, indices, row, bits):
    """A random one of the row's indices, chosen by 32 random bits."""
    start = indptr[row]
    return indices[start + below(bits, indptr[row + 1] - start)]


@compiled
def walk(graph, keys, first, last, rules, landed, touched, indptr, columns, values, counts):
    """Computes rows first … last − 1 of the counts; landed contains zeros before and after."""
    text_indptr, text_labels, label_indptr, label_texts = graph
    hops, p_reset, top = rules
    for label in range(first, last):
        if label_indptr[label] == label_indptr[label + 1]:
            continue
        here = np.int64(label)
        n = 0
        for hop in range(hops):
            if hop > 0:
                chance = np.float64(stream_number(keys[label], 2 * hop + 1) >> np.uint64(11)) * 2.0**-53
                if chance < p_reset:
                    here = np.int64(label)
            bits = stream_number(keys[label], 2 * hop)
            text = _drawn(label_indptr, label_texts, here, bits >> np.uint64(32))
            here = np.int64(_drawn(text_indptr, text_labels, text, bits & _LOW))
            if landed[here] == 0:
                touched[n] = here
                n += 1
            landed[here] += 1
        own = max(landed[label], 1)
        place = indptr[label]
        kept = _most_frequent(touched[:n], landed, top)
        has_own = False
        for i in range(kept):
            has_own |= touched[i] == label
        for i in range(kept):
            columns[place + i] = touched[i]
            values[place + i] = landed[touched[i]]
        if not has_own:
            columns[place + kept] = label
            values[place + kept] = own
            kept += 1
        _sort_pairs(columns[place : place + kept], values[place : place + kept])
        counts[label] = kept
        for i in range(n):
            landed[touched[i]] = 0


@helper
def _most_frequent(touched, landed, top):
    """Moves the `top` most frequent labels to the front of `touched`, ties to the lower id; returns how many."""
    kept = 0
    for i in range(len(touched)):
        label, count = touched[i], landed[touched[i]]
        place = kept
        while place > 0:
            above = touched[place - 1]
            if landed[above] > count or (landed[above] == count and above < label):
                break
            place -= 1
        if place >= top:
            continue
        # A label that leaves the first `top` moves to the free position: all labels are needed to reset their
        # counts.
        end = min(kept, top - 1)
        touched[i] = touched[end]
        for j in range(end, place, -1):
            touched[j] = touched[j - 1]
        touched[place] = label
        kept = min(kept + 1, top)
    return kept


@helper
def _sort_pairs(columns, values):
    """Insertion sort of both arrays by column, as they are short."""
    for i in range(1, len(columns)):
        column, value = columns[i], values[i]
        j = i
        while j > 0 and columns[j - 1] > column:
            columns[j] = columns[j - 1]
            values[j] = values[j - 1]
            j -= 1
        columns[j] = column
        values[j] = value
