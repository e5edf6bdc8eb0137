"""Label trees with a few nodes, fixed and random."""

import numpy as np

from megalabel.labels.tree import LabelTree

# Two levels, ragged: node 0 of level 0 holds one cluster, node 1 two.
OFFSETS = (np.array([0, 1, 3]), np.array([0, 2, 3, 6]))
ORDER = np.array([5, 1, 0, 2, 3, 4])


def random_tree(rng, n_labels=50, sizes=(3, 12)):
    """A ragged tree with nodes of random sizes."""
    offsets = []
    for n, below in zip(sizes, (*sizes[1:], n_labels), strict=True):
        cuts = np.sort(rng.choice(np.arange(1, below), n - 1, replace=False))
        offsets.append(np.concatenate([[0], cuts, [below]]))
    return LabelTree(tuple(offsets), rng.permutation(n_labels))
