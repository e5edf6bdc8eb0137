"""Counts the texts that have a label below each node of a tree."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.labels.tree import LabelTree


def texts_with(tree: LabelTree, labels: sp.csr_matrix) -> list[np.ndarray]:
    """Counts the texts below each node; a text with several labels below a node counts once.

    Args:
        tree: a tree over L labels.
        labels: (N, L) CSR, the labels of N texts.

    Returns:
        One array (n_i,) int64 per level, followed by one for the labels in the order of the tree.
    """
    rows = np.repeat(np.arange(labels.shape[0], dtype=np.int64), np.diff(labels.indptr))
    nodes = tree.position[labels.indices]
    counts = []
    for i in range(tree.depth, -1, -1):
        n = tree.sizes[i]
        codes = np.unique(rows * n + nodes)
        rows, nodes = codes // n, codes % n
        counts.append(np.bincount(nodes, minlength=n))
        if i:
            nodes = tree.parents(i - 1)[nodes]
    return counts[::-1]
