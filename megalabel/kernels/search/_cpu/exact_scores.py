"""Numba implementation of `search/exact_scores.py`: inner products of texts with single rows of a table."""

from __future__ import annotations

import numpy as np

from megalabel.kernels.core._cpu.compiling import compiled, summing


@summing
def _dot(x, w):
    total = np.float32(0)
    for i in range(len(x)):
        total += x[i] * w[i]
    return total


@compiled
def score(x, weight, bias, ids, scores):
    """scores[t, i] ← x[t] · weight[ids[t, i]] + bias, and −inf where the id is −1; bias may be empty."""
    for t in range(len(x)):
        for i in range(ids.shape[1]):
            label = ids[t, i]
            if label < 0:
                scores[t, i] = -np.inf
            elif len(bias) > 0:
                scores[t, i] = _dot(x[t], weight[label]) + bias[label]
            else:
                scores[t, i] = _dot(x[t], weight[label])
