"""Frequent labels kept out of the clustering of a tree: they form one cluster of their own on every level."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.labels.cluster import cluster
from megalabel.labels.tree import LabelTree


def cluster_without_head(
    features: sp.csr_matrix, depths: Sequence[int], counts: np.ndarray, above: int, *, seed: int
) -> LabelTree:
    """Clusters the labels with at most `above` training texts; the others are the last cluster of every level.

    The features of a label that nearly every text has are those of all texts, so that it is near nothing. The
    authors of CascadeXML call such labels verbose.

    Args:
        features: (L, V) float32 CSR.
        depths: level i has 2^depths[i] clusters, and one more for the frequent labels.
        counts: training texts per label, (L,) integers.
        above: labels with more training texts are kept out; 0 for none.
        seed: seeds the choice of the first centers.

    Raises:
        SettingError: fewer labels are left than the coarsest level has clusters.
    """
    head = np.flatnonzero(counts > above) if above else np.empty(0, np.int64)
    rest = np.setdiff1d(np.arange(len(counts)), head)
    if len(head) == 0:
        return cluster(features, depths, seed=seed)
    if len(rest) < 2 ** depths[0]:
        raise SettingError(
            f"head_labels_above = {above:,} leaves {len(rest):,} of {len(counts):,} labels for "
            f"{2 ** depths[0]:,} clusters",
            wanted="at least as many labels as clusters on the coarsest level",
            next_step="raise head_labels_above, or give fewer clusters",
            where="head_labels_above",
        )
    tree = cluster(features[rest], depths, seed=seed)
    *above_leaves, leaves = tree.offsets
    offsets = [np.append(level, level[-1] + 1) for level in above_leaves]
    offsets.append(np.append(leaves, leaves[-1] + len(head)))
    return LabelTree(tuple(offsets), np.concatenate([rest[tree.order], head]))
