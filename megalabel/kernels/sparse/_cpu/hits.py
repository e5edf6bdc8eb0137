"""Numba bodies of `sparse/hits.py`: one pass over the rows, no Python object per label.

They take checked arrays only (`hits.as_truth`): an index out of range here would read foreign memory.
Serial on purpose. A million rows take a few hundredths of a second, and numba's thread pools do not
survive a fork or calls from two threads everywhere.
"""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled
from megalabel.kernels.core._cpu.search import lower_bound


@compiled
def mark_hits(labels: np.ndarray, indptr: np.ndarray, indices: np.ndarray, out: np.ndarray) -> None:
    """labels (N, k), CSR with sorted rows; writes every cell of out (N, k) bool."""
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
    """gains (L,); writes the largest gains of each row, falling, into out (N, k), which holds zeros."""
    n, k = out.shape
    for row in range(n):
        kept = 0
        for at in range(indptr[row], indptr[row + 1]):
            gain = gains[indices[at]]
            if kept == k and gain <= out[row, k - 1]:
                continue
            place = kept if kept < k else k - 1
            while place > 0 and out[row, place - 1] < gain:
                out[row, place] = out[row, place - 1]
                place -= 1
            out[row, place] = gain
            if kept < k:
                kept += 1
