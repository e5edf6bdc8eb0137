"""The k largest entries of each row of a sparse matrix, and of a product that is never held whole.

    keep_largest(M, k)[r]            = the k largest stored entries of M[r]
    product_keep_largest(A, X, k)[r] = the k largest non-zero entries of Σ_j A[r, j] · X[j]

Largest by value, not by magnitude; ties go to the lower column; columns come out in rising order. The plain
versions below are the definition. The numba bodies (`_cpu/sparse_rows.py`) deal out chunks of rows to torch's
threads; a row's sum runs in the order in which the row of A is stored, so the bits do not depend on threads.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.kernels.core.dispatch import Operation

_COMPILED = Operation(__package__, "sparse_rows", enough_work=1 << 18)  # stored entries


def keep_largest(matrix: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The k largest stored entries of each row: a new CSR of the same shape and dtype.

    Args:
        matrix: (n, v) CSR, float32 or float64 (other types become float32). Repeated entries are summed first.
        k: how many a row keeps at most, 1 or more.

    Raises:
        DataError: not a sparse matrix, a damaged one, NaN or inf.
        SettingError: k below 1.
    """
    matrix = as_rows(matrix, "matrix")
    check_kept(k)
    fast = _COMPILED.for_work(matrix.nnz)
    return plain_keep_largest(matrix, k) if fast is None else fast.largest_of_rows(matrix, k)


def product_keep_largest(a: sp.csr_matrix, x: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The k largest non-zero entries of each row of a · x: (n, v) CSR.

    The product has far more entries than what is kept of it, so it is made row by row in a dense vector of v
    values a thread.

    Args:
        a: (n, m) CSR, float32 or float64.
        x: (m, v) CSR, float32 or float64; the result has the dtype of a · x.
        k: how many a row keeps at most, 1 or more.

    Raises:
        DataError: not sparse matrices, damaged ones, NaN or inf (in a product, too), or shapes that do not fit.
        SettingError: k below 1.
    """
    a, x = as_rows(a, "a"), as_rows(x, "x")
    check_kept(k)
    if a.shape[1] != x.shape[0]:
        raise DataError(
            f"a {a.shape[0]} × {a.shape[1]} matrix times a {x.shape[0]} × {x.shape[1]} matrix",
            wanted="as many columns of the first as rows of the second",
            next_step="pass the label graph first and the label features second, of the same labels",
            where="x",
        )
    kind = np.result_type(a.dtype, x.dtype)
    a, x = a.astype(kind, copy=False), x.astype(kind, copy=False)
    fast = _COMPILED.for_work(a.nnz + x.nnz)
    product = _plain_product(a, x, k) if fast is None else fast.largest_of_product(a, x, k)
    check_finite(product.data, "the product a · x")
    return product


def as_rows(matrix: sp.csr_matrix, where: str) -> sp.csr_matrix:
    """The matrix as these kernels want it: valid CSR of floats, rows sorted, nothing twice, all finite.

    Returns the same object when nothing has to change.

    Raises:
        DataError: not a sparse matrix, an index out of range, NaN or inf.
    """
    if not sp.issparse(matrix) or matrix.ndim != 2:
        raise DataError(
            f"a {type(matrix).__name__} instead of a sparse matrix",
            wanted="a scipy CSR matrix",
            next_step="wrap it in scipy.sparse.csr_matrix",
            where=where,
        )
    matrix = matrix.tocsr()
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise DataError(
            f"a damaged CSR matrix ({error})",
            wanted="indices within the shape and a rising indptr",
            next_step="build the matrix anew from (row, column, value)",
            where=where,
        ) from error
    if matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float32)
    if not matrix.has_canonical_format:
        matrix = matrix.copy()
        matrix.sum_duplicates()
    check_finite(matrix.data, where)
    return matrix


def check_finite(values: np.ndarray, where: str) -> None:
    """Raises DataError if a value is NaN or infinite."""
    with np.errstate(over="ignore", invalid="ignore"):
        if np.isfinite(values.sum()):  # no array as large as the values
            return
    bad = values[~np.isfinite(values)]  # a sum may overflow where no value does
    if len(bad):
        raise DataError(
            f"a value of {bad[0]}",
            wanted="finite numbers",
            next_step="look for texts whose features could not be computed or do not fit float32",
            where=where,
        )


def check_kept(k: int) -> None:
    """Raises SettingError unless k is 1 or more."""
    if k < 1:
        raise SettingError(
            f"{k} entries to keep a row", wanted="1 or more", next_step="pass how many to keep", where="k"
        )


def plain_keep_largest(matrix: sp.csr_matrix, k: int) -> sp.csr_matrix:
    """The definition of `keep_largest`, for a matrix that `as_rows` has returned."""
    counts = np.diff(matrix.indptr)
    rows = np.repeat(np.arange(matrix.shape[0]), counts)
    order = np.lexsort((matrix.indices, -matrix.data, rows))
    place = np.arange(matrix.nnz) - np.repeat(matrix.indptr[:-1], counts)
    kept = np.sort(order[place < k])
    indptr = np.concatenate([[0], np.minimum(counts, k).cumsum()])
    return sp.csr_matrix((matrix.data[kept], matrix.indices[kept], indptr), shape=matrix.shape)


def _plain_product(a: sp.csr_matrix, x: sp.csr_matrix, k: int) -> sp.csr_matrix:
    product = (a @ x).tocsr()
    product.eliminate_zeros()
    product.sort_indices()
    return plain_keep_largest(product, k)
