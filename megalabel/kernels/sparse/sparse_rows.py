"""Keeps the k largest entries of each row of a sparse matrix, or of a product that is not stored.

    keep_largest(M, k)[r]            = the k largest stored entries of M[r]
    product_keep_largest(A, X, k)[r] = the k largest non-zero entries of Σ_j A[r, j] · X[j]

Entries are compared by value, not by magnitude; ties go to the lower column; columns are ascending in the result.
The plain versions below are the reference. The numba versions (`_cpu/sparse_rows.py`) distribute blocks of rows
over torch's threads; a row's sum follows the order in which the row of A is stored, so the result does not depend
on the number of threads.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.sparse.csr import checked_csr

_COMPILED = Operation(__package__, "sparse_rows", enough_work=1 << 18)  # stored entries


def keep_largest(matrix: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The k largest stored entries of each row: a new CSR matrix of the same shape and dtype.

    Args:
        matrix: (n, v) CSR, float32 or float64 (other types are converted to float32). Repeated entries are summed.
        k: maximum number of entries per row, 1 or more.

    Raises:
        DataError: not a sparse matrix, damaged, NaN or inf.
        SettingError: k is below 1.
    """
    matrix = as_rows(matrix, "matrix")
    check_kept(k)
    fast = _COMPILED.for_work(matrix.nnz)
    return plain_keep_largest(matrix, k) if fast is None else fast.largest_of_rows(matrix, k)


def product_keep_largest(a: sp.csr_matrix, x: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The k largest non-zero entries of each row of a · x: (n, v) CSR.

    The product has far more entries than are kept, so it is computed row by row in a dense vector of v values per
    thread.

    Args:
        a: (n, m) CSR, float32 or float64.
        x: (m, v) CSR, float32 or float64; the result has the dtype of a · x.
        k: maximum number of entries per row, 1 or more.

    Raises:
        DataError: not sparse matrices, damaged, NaN or inf (also in the product), or shapes that do not match.
        SettingError: k is below 1.
    """
    a, x = as_rows(a, "a"), as_rows(x, "x")
    check_kept(k)
    if a.shape[1] != x.shape[0]:
        raise DataError(
            f"a {a.shape[0]} × {a.shape[1]} matrix times a {x.shape[0]} × {x.shape[1]} matrix",
            wanted="as many columns of the first as rows of the second",
            where="x",
        )
    kind = np.result_type(a.dtype, x.dtype)
    a, x = a.astype(kind, copy=False), x.astype(kind, copy=False)
    fast = _COMPILED.for_work(a.nnz + x.nnz)
    product = _plain_product(a, x, k) if fast is None else fast.largest_of_product(a, x, k)
    check_finite(product.data, "the product a · x")
    return product


def as_rows(matrix: sp.csr_matrix, where: str) -> sp.csr_matrix:
    """The matrix as canonical CSR of finite floats: sorted rows without repeated entries.

    Returns the same object if nothing has to change.

    Raises:
        DataError: not a sparse matrix, an index out of range, NaN or inf.
    """
    matrix = checked_csr(matrix, where)
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float32)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    check_finite(matrix.data, where)
    return matrix


def remove_pairs(matrix: sp.csr_matrix, pairs: np.ndarray) -> None:
    """Removes some entries of a matrix (n, v), and all stored zeros, in place.

    Args:
        matrix: CSR, of any dtype.
        pairs: (P, 2) row and column of each entry, integers; pairs that the matrix does not store are ignored.
    """
    width = np.int64(matrix.shape[1])
    rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
    named = pairs[:, 0].astype(np.int64) * width + pairs[:, 1]
    matrix.data[np.isin(rows * width + matrix.indices, named)] = 0
    matrix.eliminate_zeros()


def check_finite(values: np.ndarray, where: str) -> None:
    """Raises DataError if a value is NaN or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):  # this needs no array of the size of the values
            return
    bad = values[~np.isfinite(values)]  # the sum may overflow although all values are finite
    if len(bad):
        raise DataError(
            f"{where} contains {bad[0]}",
            wanted="finite numbers",
            next_step="check for features that could not be computed or exceed the range of float32",
            where=where,
        )


def check_kept(k: int) -> None:
    """Raises SettingError unless k is 1 or more."""
    if k < 1:
        raise SettingError(f"k = {k} entries per row", wanted="1 or more", where="k")


def plain_keep_largest(matrix: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The reference implementation of `keep_largest`, for a result of `as_rows`."""
    counts = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(matrix.shape[0]), counts)
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    position = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
    kept = np.sort(order[position < k])
    indptr = np.concatenate([[0], np.minimum(counts, k).cumsum()])
    return sp.csr_matrix((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)


def _plain_product(a: sp.csr_matrix, x: sp.csr_matrix, k: int) -> sp.csr_matrix:
    product = (a @ x).tocsr()
    product.eliminate_zeros()
    product.sort_indices()
    return plain_keep_largest(product, k)
