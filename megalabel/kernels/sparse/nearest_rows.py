"""The k rows of a sparse matrix with the largest product with each query, by an inverted index.

    nearest(q, k)[n] = the k rows r with the largest q[n] · x[r] > 0

For rows of length 1 the product is the cosine. Products are exact: nothing is left out of the index, and no row
is skipped. The best row comes first, ties go to the lower row. The index stores x by column, so that a query
visits only the rows that share a column with it. The plain version below is the reference; the numba version
(`_cpu/nearest_rows.py`) distributes blocks of queries over torch's threads, and every sum follows the order of
the columns of the query, so that the result does not depend on the number of threads.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.sparse.sparse_rows import as_rows, check_finite, check_kept

_COMPILED = Operation(__package__, "nearest_rows", enough_work=1 << 14)  # entries of the index
_PLAIN_BLOCK = 256  # queries whose products with all rows are held at once


class InvertedIndex:
    """R sparse rows of V columns, stored by column; the arrays may be memory-mapped.

    Args:
        indptr: (V + 1,) int64, where the entries of each column begin.
        rows: int32, the row of each entry.
        values: float32, the value of each entry.
        n_rows: R.

    Raises:
        DataError: arrays that do not fit each other, rows out of range, NaN or inf.
    """

    def __init__(self, indptr: np.ndarray, rows: np.ndarray, values: np.ndarray, n_rows: int) -> None:
        fits = indptr.ndim == rows.ndim == 1 and rows.shape == values.shape and len(indptr) > 0
        fits = fits and indptr[0] == 0 and indptr[-1] == len(rows) and bool((np.diff(indptr) >= 0).all())
        if not fits or (len(rows) and not 0 <= rows.min() <= rows.max() < n_rows):
            raise DataError(
                f"an index of {len(indptr) - 1} columns, {rows.shape} rows below {n_rows}, {values.shape} values",
                wanted="an ascending indptr, and a row within range and a value for each entry",
                where="indptr",
            )
        self.indptr = np.asarray(indptr).astype(np.int64, copy=False)
        self.rows = np.asarray(rows).astype(np.int32, copy=False)
        self.values = np.asarray(values).astype(np.float32, copy=False)
        self.n_columns, self.n_rows = len(indptr) - 1, n_rows
        check_finite(self.values, "values")

    @classmethod
    def of_rows(cls, x: sp.csr_matrix) -> InvertedIndex:
        """The index of rows (R, V); DataError for a damaged matrix, NaN or inf."""
        columns = as_rows(x, "x").T.tocsr()
        columns.sort_indices()
        return cls(columns.indptr, columns.indices, columns.data, x.shape[0])

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """indptr, rows and values, by name."""
        return {"indptr": self.indptr, "rows": self.rows, "values": self.values}

    def matrix(self) -> sp.csr_matrix:
        """The rows by column, (V, R) CSR."""
        return sp.csr_matrix((self.values, self.rows, self.indptr), shape=(self.n_columns, self.n_rows))

    def nearest(
        self, q: sp.csr_matrix, k: int, exclude: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """The k rows with the largest positive product with each query.

        Args:
            q: (n, V) CSR, the queries.
            k: rows per query, 1 or more.
            exclude: (n,) a row that is left out per query, such as the query itself; -1 for none.

        Returns:
            Rows (n, k) int64, best first, -1 where there are fewer, and products (n, k) float32, 0 there.

        Raises:
            DataError: queries of another width, damaged, NaN or inf, or not one excluded row per query.
            SettingError: k is below 1.
        """
        q = as_rows(q, "q").astype(np.float32, copy=False)
        check_kept(k)
        without = np.full(q.shape[0], -1, np.int64) if exclude is None else np.asarray(exclude, np.int64)
        if q.shape[1] != self.n_columns or without.shape != (q.shape[0],):
            raise DataError(
                f"queries {q.shape} and {without.shape} excluded rows for an index of {self.n_columns} columns",
                wanted="queries with as many columns as the index, and one excluded row per query",
                where="q",
            )
        found = np.full((q.shape[0], k), -1, np.int64), np.zeros((q.shape[0], k), np.float32)
        fast: Any = _COMPILED.for_work(len(self.rows))
        if fast is None:
            self._plain(q, without, *found)
        else:
            fast.nearest(q, (self.indptr, self.rows, self.values), self.n_rows, without, *found)
        return found

    def _plain(self, q: sp.csr_matrix, without: np.ndarray, rows: np.ndarray, products: np.ndarray) -> None:
        columns, k = self.matrix(), rows.shape[1]
        for start in range(0, q.shape[0], _PLAIN_BLOCK):
            part = slice(start, start + _PLAIN_BLOCK)
            dense = (q[part] @ columns).toarray()
            has = np.flatnonzero(without[part] >= 0)
            dense[has, without[part][has]] = 0
            best = np.argsort(-dense, axis=1, kind="stable")[:, :k]
            values = np.take_along_axis(dense, best, axis=1)
            rows[part, : best.shape[1]] = np.where(values > 0, best, -1)
            products[part, : best.shape[1]] = np.maximum(values, 0)
