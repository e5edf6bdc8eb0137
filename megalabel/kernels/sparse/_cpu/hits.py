"""Numba implementation of `sparse/hits.py`.

The arrays must have been checked (`hits.as_truth`), since an index out of range would read other memory. The code
is serial: a million rows take a few hundredths of a second, and numba's thread pools do not support forks and
calls from several threads on all platforms.
"""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled
from megalabel.kernels.core._cpu.search import lower_bound


@compiled
def mark_hits(labels: np.ndarray, indptr: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
    """labels (N, k), CSR with sorted rows; writes out (N, k) bool."""
    n, k = labels.shape
    for row in range(n):
        start, stop = indptr[row], indptr[row + 1]
        for j in range(k):
            label = labels[row, j]
            at = lower_bound(indices, start, stop, label)
            found = at < stop and indices[at] == label
            if found:
                for earlier in range(j):
                    if labels[row, earlier] == label:
                        found = False
                        break
            out[row, j] = found


@compiled
def best_of_rows(indptr: np.ndarray, indices: np.ndarray, gains: np.ndarray, out: np.ndarray) -> None:
    """gains (L,); writes the largest gains of each row, descending, into out (N, k), which holds zeros."""
    n, k = out.shape
    for row in range(n):
        kept = 0
        for at in range(indptr[row], indptr[row + 1]):
            gain = gains[indices[at]]
            if kept == k and gain <= out[row, k - 1]:
                continue
            position = kept if kept < k else k - 1
            while position > 0 and out[row, position - 1] < gain:
                out[row, position] = out[row, position - 1]
                position -= 1
            out[row, position] = gain
            if kept < k:
                kept += 1
