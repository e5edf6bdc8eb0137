"""CSR matrices that compiled code has filled with fewer entries than allocated."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.core._cpu.compiling import compiled


def tight(
    indptr: np.ndarray, columns: np.ndarray, values: np.ndarray, counts: np.ndarray, shape: tuple[int, int]
) -> sp.csr_matrix:
    """A CSR matrix of the first counts[r] entries of each row, compacted in place."""
    close_gaps(indptr, columns, values, counts)
    np.cumsum(counts, out=indptr[1:])
    columns.resize(indptr[-1], refcheck=False)
    values.resize(indptr[-1], refcheck=False)
    return sp.csr_matrix((values, columns, indptr), shape=shape)


@compiled
def close_gaps(indptr, columns, values, counts):
    """Moves the first counts[r] entries of each row directly behind those of the previous row."""
    place = 0
    for row in range(len(counts)):
        start = indptr[row]
        if place == start:
            place += counts[row]
            continue
        for at in range(start, start + counts[row]):
            columns[place] = columns[at]
            values[place] = values[at]
            place += 1
