"""Numba implementation of `merging/boosted_trees.py`."""

from __future__ import annotations

from megalabel.kernels.core._cpu.compiling import compiled


@compiled
def add_margins(x, features, thresholds, values, margins):
    """Adds the values of all trees to each row's margin, tree by tree."""
    n_trees, depth = features.shape
    for row in range(len(x)):
        total = margins[row]
        for tree in range(n_trees):
            leaf = 0
            for level in range(depth):
                if x[row, features[tree, level]] > thresholds[tree, level]:
                    leaf |= 1 << level
            total += values[tree, leaf]
        margins[row] = total


@compiled
def add_histograms(bins, leaf, g, h, sums):
    """Adds each row's g and h to the bins of its features, in the order of the rows."""
    for row in range(len(bins)):
        at, first, second = leaf[row], g[row], h[row]
        for f in range(bins.shape[1]):
            b = bins[row, f]
            sums[at, f, b, 0] += first
            sums[at, f, b, 1] += second
