"""Orders and groups of labels for the layout of heads: along a tree, by frequency, and in clusters."""

from __future__ import annotations

import numpy as np

from megalabel.errors import SettingError
from megalabel.labels.tree import LabelTree

MAX_LABELS = 100  # labels per auxiliary cluster in Spartex


def auxiliary_depth(n_labels: int, max_labels: int = MAX_LABELS) -> int:
    """The number of halvings of L labels after which no cluster has more than `max_labels`; at least 1.

    There are 2 to this power clusters. The rule is that of Spartex (NeurIPS 2024): 2,048 clusters for
    LF-AmazonTitles-131K, 8,192 for Amazon-670K, and 32,768 for Amazon-3M.

    Raises:
        SettingError: there are fewer than 2 labels, or `max_labels` is below 1.
    """
    if n_labels < 2 or max_labels < 1:
        raise SettingError(
            f"clusters of at most {max_labels} of {n_labels} labels",
            wanted="at least 2 labels, and at least 1 per cluster",
            next_step="train without an auxiliary head",
        )
    return max(1, (-(-n_labels // max_labels) - 1).bit_length())


def auxiliary_level(tree: LabelTree) -> int:
    """The level of a tree (0 is the coarsest) whose number of clusters is nearest to that of `auxiliary_depth`."""
    target = auxiliary_depth(tree.n_labels)
    return min(range(tree.depth), key=lambda level: abs(np.log2(tree.sizes[level]) - target))


def auxiliary_clusters(tree: LabelTree, level: int | None = None) -> np.ndarray:
    """The cluster of each label on a level of the tree: (L,) int64.

    Args:
        tree: a tree over L labels.
        level: the level, 0 for the coarsest; default: the leaves.

    Raises:
        SettingError: the tree has no such level.
    """
    level = tree.depth - 1 if level is None else level
    if not 0 <= level < tree.depth:
        raise SettingError.range("level", level, 0, tree.depth - 1, integer=True)
    clusters: np.ndarray = tree.parents(level)
    for below in range(level + 1, tree.depth):
        clusters = clusters[tree.parents(below)]
    of_labels: np.ndarray = clusters[tree.position]
    return of_labels


def by_tree(tree: LabelTree) -> np.ndarray:
    """The labels in the order of the tree: (L,) int64, a copy."""
    return tree.order.copy()


def by_frequency(counts: np.ndarray) -> np.ndarray:
    """The labels from the most frequent to the rarest, ties to the lower id: (L,) int64.

    Raises:
        SettingError: the counts are not (L,) numbers of 0 or more.
    """
    return np.argsort(-_check_counts(counts), kind="stable").astype(np.int64)


def frequent_first(order: np.ndarray, counts: np.ndarray, n: int) -> np.ndarray:
    """The n most frequent labels, followed by the others in their given order: (L,) int64.

    Args:
        order: (L,) int64, the labels in any order.
        counts: (L,) numbers, the frequency of each label.
        n: the number of labels to put first.

    Raises:
        SettingError: n is not from 0 to L, or the counts are not those of the labels in `order`.
    """
    counts = _check_counts(counts)
    if len(order) != len(counts) or not 0 <= n <= len(order):
        raise SettingError(
            f"n = {n} with {len(order)} labels and {len(counts)} counts",
            wanted="one count per label, and n from 0 to their number",
        )
    frequent = by_frequency(counts)[:n]
    first = np.zeros(len(order), dtype=np.bool_)
    first[frequent] = True
    return np.concatenate([frequent, order[~first[order]]])


def _check_counts(counts: np.ndarray) -> np.ndarray:
    counts = np.asarray(counts)
    if counts.ndim != 1 or counts.dtype.kind not in "iuf" or not np.all(counts >= 0):
        raise SettingError(
            f"counts of shape {counts.shape} and dtype {counts.dtype}",
            wanted="(L,) numbers of 0 or more",
            next_step="count the training texts of each label",
            where="counts",
        )
    return counts if counts.dtype.kind == "f" else counts.astype(np.int64)  # unsigned integers cannot be negated
