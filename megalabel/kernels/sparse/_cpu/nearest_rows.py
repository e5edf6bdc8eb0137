"""Numba implementation of `sparse/nearest_rows.py`, which distributes blocks of queries over torch's threads."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.core._cpu.compiling import compiled
from megalabel.kernels.core._cpu.heaps import offer, sink
from megalabel.kernels.core.threads import parallel_for
from megalabel.kernels.sparse._cpu.sparse_rows import Rows

_BLOCK = 64  # queries per task


def nearest(
    q: sp.csr_matrix,
    index: tuple[np.ndarray, np.ndarray, np.ndarray],
    n_rows: int,
    without: np.ndarray,
    rows: np.ndarray,
    products: np.ndarray,
) -> None:
    """Fills rows and products (n, k), best first."""
    n = q.shape[0]
    queries, columns = Rows(q.indptr, q.indices, q.data), Rows(*index)
    scratch: dict[int, tuple[np.ndarray, np.ndarray]] = {}
    entries = np.concatenate([[0], np.cumsum(np.diff(index[0])[q.indices])])[q.indptr]
    most = int(np.diff(entries).max(initial=0))  # entries that a query visits

    def work(worker: int, block: int) -> None:
        if worker not in scratch:
            scratch[worker] = np.zeros(n_rows, np.float32), np.empty(most, np.int32)
        first, last = block * _BLOCK, min((block + 1) * _BLOCK, n)
        nearest_of(queries, columns, first, last, without, *scratch[worker], rows, products)

    parallel_for(work, -(-n // _BLOCK))


@compiled
def nearest_of(queries, columns, first, last, without, sums, touched, rows, products):
    """The nearest rows of the queries first … last − 1; sums is zero before and after."""
    q_indptr, q_columns, q_values = queries
    indptr, members, values = columns
    k = rows.shape[1]
    keys, ids = np.empty(k, np.float32), np.empty(k, np.int64)
    for query in range(first, last):
        n_touched = 0
        for j in range(q_indptr[query], q_indptr[query + 1]):
            factor, column = q_values[j], q_columns[j]
            for at in range(indptr[column], indptr[column + 1]):
                row = np.uint64(members[at])  # unsigned: a negative index need not be looked for
                if sums[row] == 0:
                    touched[n_touched] = members[at]
                    n_touched += 1
                sums[row] += factor * values[at]
        if without[query] >= 0:
            sums[without[query]] = 0
        size = 0
        bar = np.float32(0)  # smaller products do not enter
        for i in range(n_touched):
            row = np.uint64(touched[i])
            value = sums[row]
            sums[row] = 0  # so that a row that is listed twice counts once
            if value > 0 and value >= bar:
                size = offer(keys, ids, size, k, value, np.int64(row))
                if size == k:
                    bar = keys[0]
        while size > 0:  # the root is the last in rank
            size -= 1
            rows[query, size], products[query, size] = ids[0], keys[0]
            if size > 0:
                sink(keys, ids, size, keys[size], ids[size])
