"""Looks up pairs of rows and columns in sparse matrices, and multiplies pairs of rows."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp


def values_at(matrix: sp.csr_matrix, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The entries (P,) float64 of a sorted CSR matrix at pairs; 0 where there is none."""
    if not matrix.nnz or not len(rows):
        return np.zeros(len(rows))
    # A binary search in each row, for all pairs at once.
    low, high = matrix.indptr[rows].astype(np.int64), matrix.indptr[rows + 1].astype(np.int64)
    ends = high.copy()
    while (low < high).any():
        middle = (low + high) // 2
        below = (low < high) & (matrix.indices[np.minimum(middle, matrix.nnz - 1)] < columns)
        low, high = np.where(below, middle + 1, low), np.where(below, high, middle)
    at = np.minimum(low, matrix.nnz - 1)
    found: np.ndarray = np.where((low < ends) & (matrix.indices[at] == columns), matrix.data[at], 0.0)
    return found


def products(x: sp.csr_matrix, of_labels: sp.csr_matrix, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The products of rows of x and rows of another matrix: (P,) float64."""
    some = x[rows]
    pair = np.repeat(np.arange(len(rows)), np.diff(some.indptr))
    values = values_at(of_labels, columns[pair], some.indices) * some.data
    return np.bincount(pair, values, minlength=len(rows))


def sorted_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """The matrix with ascending columns."""
    matrix = matrix.tocsr()
    matrix.sort_indices()
    return matrix
