"""The index `tree`: a tree of clusters of label vectors, searched with a beam in 8-bit integers."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from megalabel.index.base import LabelIndex, LabelTable
from megalabel.index.clusters import Clusters, cluster_labels
from megalabel.index.levels import load_levels, save_levels
from megalabel.kernels.search.arrays import Level
from megalabel.kernels.search.groups import BIAS, SIZE, SPREAD, group_level
from megalabel.kernels.search.label_search import LabelSearch

SPARE = 32  # candidates beyond k that are scored in float32
_WIDTHS = (4, 6, 8, 12, 16, 20, 24, 28, 32, 40, 48, 56, 64, 80, 96, 128, 192, 256, 384, 512, 768, 1024)
_DEFAULT_WIDTH = 32  # until a width is chosen by measuring


class TreeIndex(LabelIndex):
    """Approximate: finds the labels of the clusters that a beam reaches.

    Labels are divided into about √(L / 48) groups, and each group into clusters of about 48 labels
    (`clusters.py`). A cluster is scored by the mean of its label vectors, and by how far they spread: if they
    scatter around it like normal deviates, the largest of m scores is √(2 ln m) standard deviations above that
    of the mean, and a standard deviation is ‖x‖ times the root mean square distance from the mean, divided by
    √D.

    The `width` is the number of clusters whose labels are scored; a third as many groups are entered.
    """

    kind = "tree"

    def __init__(self, search: LabelSearch, shape: tuple[int, int], depth: int) -> None:
        super().__init__(shape, depth)
        self.search = search

    @classmethod
    def build(cls, table: LabelTable, depth: int, seed: int = 0) -> TreeIndex:
        """Clusters the label vectors and stores them in the order of their clusters."""
        n, dim = table.weight.shape
        found = cluster_labels(table, seed)
        leaves = group_level(table.rows, table.biases(), found.labels, found.order, dim)
        leaves.facts[:, SPREAD] = 0
        leaves.facts[:, SIZE] = 0
        n_groups, n_clusters = len(found.clusters) - 1, len(found.labels) - 1
        top = np.array([0, n_groups], np.int64)
        levels = [
            _nodes(found, found.clusters, top, np.arange(n_groups), dim),
            _nodes(found, np.arange(n_clusters + 1), found.clusters, np.arange(n_clusters), dim),
            leaves,
        ]
        search = LabelSearch(levels, _beams(_DEFAULT_WIDTH), dim)
        return cls(search, (n, dim), depth)

    def candidates(self, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The best labels of the clusters reached."""
        return self.search(x, min(k + SPARE, self.shape[0]))[0], None

    def widths(self) -> list[int]:
        """Numbers whose steps are at most half of them, up to the number of clusters."""
        n_clusters = len(self.search.levels[-1].starts) - 1
        return [width for width in _WIDTHS if width < n_clusters] + [n_clusters] * (n_clusters <= _WIDTHS[-1])

    def with_width(self, width: int) -> TreeIndex:
        """The same tree with another beam."""
        other = TreeIndex(self.search.with_beams(_beams(width)), self.shape, self.depth)
        other.report = self.report
        return other

    def save_files(self, folder: Path) -> dict[str, Any]:
        """See `LabelIndex.save_files`."""
        return save_levels(folder, self.search)

    @classmethod
    def load_files(cls, folder: Path, facts: dict[str, Any], shape: tuple[int, int], depth: int) -> TreeIndex:
        """See `LabelIndex.load_files`."""
        return cls(load_levels(folder, facts, shape[1]), shape, depth)


def _beams(width: int) -> tuple[int, int]:
    return max(2, -(-width // 3)), width


def _nodes(found: Clusters, parts: np.ndarray, chunks: np.ndarray, order: np.ndarray, dim: int) -> Level:
    """A level of nodes, each of the clusters parts[i] to parts[i + 1] − 1."""
    sizes = np.diff(found.labels).astype(np.float64)
    first = parts[:-1]
    weights = np.add.reduceat(sizes, first)
    sums = found.sums.astype(np.float64)
    means = np.add.reduceat(sums, first, axis=0) / weights[:, None]
    biases = np.add.reduceat(found.bias_sums, first) / weights
    squares = np.add.reduceat(found.squares, first) / weights - (means**2).sum(1)
    deviation = np.sqrt(np.maximum(squares, 0) / dim)
    spread = deviation * np.sqrt(2 * np.log(np.maximum(weights, math.e)))
    level = group_level(lambda rows: means[rows].astype(np.float32), biases.astype(np.float32), chunks, order, dim)
    there = level.ids >= 0
    own = np.where(there, spread[np.maximum(level.ids, 0)], 0).reshape(-1, 16)
    level.facts[:, SPREAD], level.facts[:, SIZE] = own, 0
    assert np.isfinite(level.facts[:, BIAS]).all()
    return level
