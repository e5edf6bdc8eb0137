"""Orders and groups of labels that heads are laid out by: along a tree, by frequency, in clusters."""

from __future__ import annotations

import numpy as np

from megalabel.errors import SettingError
from megalabel.labels.tree import LabelTree

MOST = 100  # labels of an auxiliary cluster, in Spartex


def auxiliary_depth(n_labels: int, most: int = MOST) -> int:
    """How often L labels are halved until no cluster has more than `most`: 2 to this power clusters.

    The rule of Spartex (NeurIPS 2024): 2,048 clusters for LF-AmazonTitles-131K, 8,192 for Amazon-670K, 32,768 for
    Amazon-3M. At least 1, so that the depth can be given to `build_tree`.

    Raises:
        SettingError: fewer than 2 labels, `most` below 1.
    """
    if n_labels < 2 or most < 1:
        raise SettingError(
            f"clusters of at most {most} of {n_labels} labels",
            wanted="2 labels or more, and 1 or more a cluster",
            next_step="train without an auxiliary head",
        )
    return max(1, (-(-n_labels // most) - 1).bit_length())


def auxiliary_level(tree: LabelTree) -> int:
    """The level of a tree whose clusters are nearest in number to `auxiliary_depth`, 0 the coarsest."""
    wanted = auxiliary_depth(tree.n_labels)
    return min(range(tree.depth), key=lambda level: abs(np.log2(tree.sizes[level]) - wanted))


def auxiliary_clusters(tree: LabelTree, level: int | None = None) -> np.ndarray:
    """(L,) int64, the cluster of each label on a level of the tree, 0 the coarsest; by default its leaves.

    Raises:
        SettingError: a level that the tree does not have.
    """
    level = tree.depth - 1 if level is None else level
    if not 0 <= level < tree.depth:
        raise SettingError(
            f"level = {level}", wanted=f"from 0 to {tree.depth - 1}", next_step="name one of the tree's levels"
        )
    clusters = tree.parents(level)
    for below in range(level + 1, tree.depth):
        clusters = clusters[tree.parents(below)]
    return clusters[tree.place]


def by_tree(tree: LabelTree) -> np.ndarray:
    """(L,) int64, the labels as they stand next to each other in the tree; a copy."""
    return tree.order.copy()


def by_frequency(counts: np.ndarray) -> np.ndarray:
    """(L,) int64, the labels from the most frequent to the rarest, ties to the lower id.

    Raises:
        SettingError: counts (L,) that are no numbers from 0 up.
    """
    return np.argsort(-_checked(counts), kind="stable").astype(np.int64)


def frequent_first(order: np.ndarray, counts: np.ndarray, n: int) -> np.ndarray:
    """(L,) int64: the n most frequent labels, then the others as they stand in `order`.

    Raises:
        SettingError: n not from 0 to L, counts that are not of the labels in `order`.
    """
    counts = _checked(counts)
    if len(order) != len(counts) or not 0 <= n <= len(order):
        raise SettingError(
            f"n = {n} with {len(order)} labels and {len(counts)} counts",
            wanted="a count for each label, and n from 0 to their number",
            next_step="correct them",
        )
    frequent = by_frequency(counts)[:n]
    first = np.zeros(len(order), dtype=np.bool_)
    first[frequent] = True
    return np.concatenate([frequent, order[~first[order]]])


def _checked(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.ndim != 1 or counts.dtype.kind not in "iuf" or not np.all(counts >= 0):
        raise SettingError(
            f"counts of shape {counts.shape} and dtype {counts.dtype}",
            wanted="(L,) numbers, 0 or more",
            next_step="count each label's training texts",
            where="counts",
        )
    return counts if counts.dtype.kind == "f" else counts.astype(np.int64)  # unsigned ones have no negatives
