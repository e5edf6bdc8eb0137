"""Sums for fitting boosted symmetric trees, and their predictions.

A symmetric tree of depth D asks the same question at all nodes of a level (Prokhorenkova, Gusev, Vorobev, Dorogush
and Gulin, "CatBoost", NeurIPS 2018): it is D features, D thresholds, and 2^D values.

    leaf[n]             = Σ_d 2^d · [x[n, feature_d] > threshold_d]
    margins[n]          = start[n] + Σ_t values[t, leaf_t[n]]
    histograms[l, f, b] = Σ (g[n], h[n]) over rows n with leaf[n] = l and bins[n, f] = b

The plain versions below are the reference; the numba versions are in `_cpu/boosted_trees.py`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from megalabel.errors import DataError
from megalabel.kernels.core.dispatch import Operation

_COMPILED = Operation(__package__, "boosted_trees", enough_work=1 << 8)  # rows times features


def margins(
    x: np.ndarray, start: np.ndarray, features: np.ndarray, thresholds: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """The sums of the values of T trees for each row: (n,) float64.

    Args:
        x: (n, F) float32.
        start: (n,) float64, the margins without trees.
        features: (T, D) int32, below F.
        thresholds: (T, D) float32.
        values: (T, 2^D) float64.

    Raises:
        DataError: shapes that do not fit each other, or a feature out of range.
    """
    n_trees, depth = features.shape
    fits = thresholds.shape == features.shape and values.shape == (n_trees, 1 << depth)
    fits = fits and x.ndim == 2 and start.shape == (len(x),)
    if not fits or (features.size and not 0 <= features.min() <= features.max() < x.shape[1]):
        raise DataError(
            f"rows {x.shape}, starts {start.shape}, trees {features.shape}, {thresholds.shape}, {values.shape}",
            wanted="(n, F), (n,), twice (T, D) with features below F, and (T, 2^D)",
            where="trees",
        )
    found = start.astype(np.float64)
    fast: Any = _COMPILED.for_work(x.size)
    if fast is not None:
        fast.add_margins(np.ascontiguousarray(x, np.float32), features, thresholds, values, found)
        return found
    for asked, bounds, leaves in zip(features, thresholds, values, strict=True):
        found += leaves[((x[:, asked] > bounds) << np.arange(depth)).sum(axis=1)]
    return found


def histograms(
    bins: np.ndarray, leaf: np.ndarray, g: np.ndarray, h: np.ndarray, n_leaves: int, n_bins: int
) -> np.ndarray:
    """The sums of g and h per leaf, feature and bin: (n_leaves, F, n_bins, 2) float64.

    Args:
        bins: (n, F) uint8, below n_bins.
        leaf: (n,) int64, below n_leaves.
        g, h: (n,) float64.
        n_leaves, n_bins: their numbers.
    """
    sums = np.zeros((n_leaves, bins.shape[1], n_bins, 2))
    fast: Any = _COMPILED.for_work(bins.size)
    if fast is not None:
        fast.add_histograms(bins, leaf, g, h, sums)
        return sums
    for f in range(bins.shape[1]):
        cell = leaf * n_bins + bins[:, f]
        for i, weights in enumerate((g, h)):
            sums[:, f, :, i] = np.bincount(cell, weights, n_leaves * n_bins).reshape(n_leaves, n_bins)
    return sums
