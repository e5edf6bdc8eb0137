"""What a label tree is built from, as CascadeXML published it, in slow float64 loops over dictionaries.

Label features (PIFA), the label graph's normalization, the smoothing of features over it, and what a count of
walks must look like. A matrix is a list of rows, a row a dictionary of column to value.
"""

from __future__ import annotations

import math

import numpy as np
import scipy.sparse as sp

Row = dict[int, float]


def rows_of(matrix: sp.spmatrix) -> list[Row]:
    csr = matrix.tocsr()
    return [
        {int(csr.indices[at]): float(csr.data[at]) for at in range(csr.indptr[row], csr.indptr[row + 1])}
        for row in range(csr.shape[0])
    ]


def dense(rows: list[Row], width: int) -> np.ndarray:
    table = np.zeros((len(rows), width))
    for row, values in enumerate(rows):
        for column, value in values.items():
            table[row, column] = value
    return table


def unit(row: Row) -> Row:
    """The row over its Euclidean length; a row of nothing stays nothing."""
    length = math.sqrt(sum(value * value for value in row.values()))
    return {column: value / length for column, value in row.items()} if length > 0 else {}


def largest(row: Row, keep: int) -> Row:
    """Its `keep` largest entries, ties to the lower column (ours; published: whatever the sort does)."""
    best = sorted(row.items(), key=lambda entry: (-entry[1], entry[0]))[:keep]
    return dict(best)


def pifa(texts: list[Row], labels: list[set[int]], n_labels: int, keep: int) -> list[Row]:
    """Yᵀ · rowL2(X): the **sum** of a label's texts' unit rows, its `keep` largest entries, not scaled."""
    features: list[Row] = [{} for _ in range(n_labels)]
    for row, own in zip(texts, labels, strict=True):
        for column, value in unit(row).items():
            for label in own:
                features[label][column] = features[label].get(column, 0.0) + value
    return [largest(row, keep) for row in features]


def graph_of_counts(counts: list[Row], keep: int, labels_with_texts: set[int]) -> list[Row]:
    """Walk counts to a graph: the `keep` largest of a row, then its diagonal as it was, at least 1."""
    graph = []
    for label, row in enumerate(counts):
        if label not in labels_with_texts:
            graph.append({})
            continue
        kept = largest(row, keep)
        kept[label] = max(row.get(label, 0.0), 1.0)
        graph.append(kept)
    return graph


def normalized(graph: list[Row]) -> list[Row]:
    """D_r^(-1/2) A D_c^(-1/2) with the sums of rows and of columns."""
    of_rows = [sum(row.values()) for row in graph]
    of_columns: Row = {}
    for row in graph:
        for column, value in row.items():
            of_columns[column] = of_columns.get(column, 0.0) + value
    return [
        {column: value / math.sqrt(of_rows[at] * of_columns[column]) for column, value in row.items()}
        for at, row in enumerate(graph)
    ]


def smoothed(graph: list[Row], features: list[Row], keep: int) -> list[Row]:
    """A · Φ, the `keep` largest entries of each row."""
    result = []
    for row in graph:
        total: Row = {}
        for neighbor, share in row.items():
            for column, value in features[neighbor].items():
                total[column] = total.get(column, 0.0) + share * value
        result.append(largest(total, keep))
    return result


def walk_chances(labels: list[set[int]], n_labels: int, hops: int, p_reset: float) -> np.ndarray:
    """How often each label is landed on in `hops` hops from each label, expected: (L, L), rows sum to `hops`.

    A hop: a random text of the current label, then a random label of that text. The first starts at the label
    itself; each later one there again with chance p_reset, else where the last one landed.
    """
    hop = np.zeros((n_labels, n_labels))
    n_texts = [sum(label in own for own in labels) for label in range(n_labels)]
    for own in labels:
        for here in own:
            for there in own:
                hop[here, there] += 1 / n_texts[here] / len(own)
    expected = np.zeros((n_labels, n_labels))
    for start in range(n_labels):
        if n_texts[start] == 0:
            continue
        standing = np.zeros(n_labels)
        standing[start] = 1.0
        for _ in range(hops):
            landed = standing @ hop
            expected[start] += landed
            standing = (1 - p_reset) * landed
            standing[start] += p_reset
    return expected
