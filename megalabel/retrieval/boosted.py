"""Gradient-boosted symmetric trees for the probability that a candidate label is true.

Trees are fitted one after the other to the gradient g and the curvature h of the logistic loss (Friedman, "Greedy
Function Approximation", 2001; Chen and Guestrin, "XGBoost", KDD 2016): each level takes the feature and the
threshold with the largest Σ G² / (H + λ) over the two sides of all nodes, and the value of a leaf is
−rate · G / (H + λ). Symmetric trees (kernels/merging/boosted_trees.py) have few parameters, which suits the few
thousand texts that a run holds out. They start from given margins, so that no trees means no change.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

from megalabel.errors import RESTORE_FOLDER, FormatError
from megalabel.kernels.merging.boosted_trees import histograms, margins

BINS = 48  # thresholds per feature are quantiles
DEPTH, RATE, REGULARIZATION = 3, 0.12, 10.0
LEAST_CURVATURE = 1e-6


@dataclass(frozen=True, eq=False)
class BoostedTrees:
    """T symmetric trees over F features.

    features: (T, D) int32. thresholds: (T, D) float32. values: (T, 2^D) float64. n_features: F.
    """

    features: np.ndarray
    thresholds: np.ndarray
    values: np.ndarray
    n_features: int

    def __post_init__(self) -> None:
        n_trees, depth = self.features.shape if self.features.ndim == 2 else (-1, 0)
        fits = self.thresholds.shape == self.features.shape and self.values.shape == (n_trees, 1 << depth)
        fits = fits and (not n_trees or 0 <= self.features.min() <= self.features.max() < self.n_features)
        if not fits or not (np.isfinite(self.thresholds).all() and np.isfinite(self.values).all()):
            raise FormatError(
                f"trees {self.features.shape}, {self.thresholds.shape}, {self.values.shape}",
                wanted=f"finite trees over {self.n_features} features",
                next_step=RESTORE_FOLDER,
            )

    @classmethod
    def fit(cls, x: np.ndarray, true: np.ndarray, start: np.ndarray, n_trees: int) -> Self:
        """Fits trees to rows.

        Args:
            x: (n, F) float32, finite.
            true: (n,) bool, whether the candidate is true.
            start: (n,) float64, the log-odds from which the first tree starts.
            n_trees: the number of trees, T.
        """
        bins, bounds = _binned(x)
        trees = list(_boosted(bins, bounds, true.astype(np.float64), start.astype(np.float64), n_trees))
        return cls(
            np.array([t[0] for t in trees], np.int32).reshape(-1, DEPTH),
            np.array([t[1] for t in trees], np.float32).reshape(-1, DEPTH),
            np.array([t[2] for t in trees], np.float64).reshape(-1, 1 << DEPTH),
            x.shape[1],
        )

    def margins(self, x: np.ndarray, start: np.ndarray) -> np.ndarray:
        """The log-odds of rows (n, F) that start from (n,) log-odds."""
        return margins(x, start, self.features, self.thresholds, self.values)

    def first(self, n_trees: int) -> Self:
        """The first trees alone."""
        cut = slice(n_trees)
        return type(self)(self.features[cut], self.thresholds[cut], self.values[cut], self.n_features)

    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays, by name."""
        return {"features": self.features, "thresholds": self.thresholds, "values": self.values}


def _binned(x: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    """The bin of each value, (n, F) uint8, and ascending bounds per feature: bin > b if the value > bounds[b]."""
    shares = np.linspace(0, 1, BINS + 1)[1:-1]
    bounds = [np.unique(np.quantile(x[:, f], shares, method="lower")) for f in range(x.shape[1])]
    bins = [np.searchsorted(cuts, x[:, f], side="left") for f, cuts in enumerate(bounds)]
    return np.ascontiguousarray(np.stack(bins, axis=1).astype(np.uint8)), bounds


def _boosted(
    bins: np.ndarray, bounds: list[np.ndarray], true: np.ndarray, margin: np.ndarray, n_trees: int
) -> Iterator[tuple[Any, Any, np.ndarray]]:
    """Yields features, thresholds and values of each tree."""
    possible = np.zeros((bins.shape[1], BINS), bool)
    for f, cuts in enumerate(bounds):
        possible[f, : len(cuts)] = True
    if not possible.any():
        return
    for _ in range(n_trees):
        p = 1 / (1 + np.exp(-np.clip(margin, -500, 500)))
        g, h = p - true, np.maximum(p * (1 - p), LEAST_CURVATURE)
        leaf, chosen = np.zeros(len(bins), np.int64), []
        for level in range(DEPTH):
            below = histograms(bins, leaf, g, h, 1 << level, BINS).cumsum(axis=2)
            above = below[:, :, -1:] - below
            gain = (_gain(below) + _gain(above)).sum(axis=0)
            f, b = divmod(int(np.argmax(np.where(possible, gain, -np.inf))), BINS)
            chosen.append((f, bounds[f][b]))
            leaf |= (bins[:, f] > b).astype(np.int64) << level
        g_leaf, h_leaf = (np.bincount(leaf, weights, 1 << DEPTH) for weights in (g, h))
        values = -RATE * g_leaf / (h_leaf + REGULARIZATION)
        margin = margin + values[leaf]
        yield [f for f, _ in chosen], [bound for _, bound in chosen], values


def _gain(sums: np.ndarray) -> np.ndarray:
    gain: np.ndarray = sums[..., 0] ** 2 / (sums[..., 1] + REGULARIZATION)
    return gain
