"""Clusters labels into a tree by recursive balanced 2-means, and chooses the depths of its levels.

Balanced splits of the labels by spherical 2-means are from Parabel (Prabhu et al., WWW 2018). Nested levels with a
fixed number of clusters, with eight children each, are from CascadeXML (arXiv 2211.00640, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.kernels.clustering.balanced_split import balanced_tree
from megalabel.labels.tree import LabelTree

LEAF_LABELS = 8  # labels per leaf, approximately
STEP = 3  # halvings between two levels, which make eight children per cluster
MAX_FIRST_DEPTH = 11  # 2^11 clusters are cheap enough to be scored for every text
MAX_LEVELS = 4
MAX_DEPTH = 30


def choose_depths(n_labels: int) -> tuple[int, ...]:
    """Chooses the depths of a tree over L labels, coarse to fine; a level of depth d has 2^d clusters.

    The number of leaves is the power of two nearest to L / 8, which makes leaves of 6 to 11 labels. Each level
    above has an eighth as many clusters, until a level has at most 2,048 clusters or there are four levels. (On
    the 145,716 labels of wordnet, a level of 256 clusters above one of 2,048 cost a point of P@1: docs/log.md.)

    | labels | depths | published |
    |---|---|---|
    | Wiki10-31K, 30,938 | 9, 12 | two levels, leaves at 12 |
    | Amazon-670K, 670,091; Wiki-500K, 501,070 | 10, 13, 16 | the same |
    | Amazon-3M, 2,812,281 | 9, 12, 15, 18 | leaves at 17, of 21 labels each |
    | AmazonCat-13K, 13,330 | 11 | unknown; 7 in an older design with one level |
    | LF-AmazonTitles-131K, 131,073 | 11, 14 | re-runs by others: 10, 13, 16 and 9, 12, 15 |
    | LF-WikiSeeAlso-320K, 312,330 | 9, 12, 15 | re-run by others: 10, 13, 16 |
    | LF-AmazonTitles-1.3M, 1,305,265 | 11, 14, 17 | re-run by others: 13, 16, two levels |

    Raises:
        SettingError: there are fewer than 2 labels.
    """
    if n_labels < 2:
        raise SettingError(f"a tree over {n_labels} labels", wanted="at least 2 labels")
    depths = [max(1, round(math.log2(n_labels / LEAF_LABELS)))]
    while depths[0] > MAX_FIRST_DEPTH and len(depths) < MAX_LEVELS:
        depths.insert(0, depths[0] - STEP)
    return tuple(depths)


def check_depths(depths: Sequence[int], n_labels: int) -> tuple[int, ...]:
    """Checks depths against the number of labels, and returns them.

    Raises:
        SettingError: there are no depths, they do not ascend or are not from 1 to 30, or the coarsest level
            would have more clusters than there are labels.
    """
    shown = ",".join(map(str, depths)) or "none"
    wanted = "ascending whole numbers from 1 to 30, such as " + ",".join(map(str, choose_depths(n_labels)))
    valid = len(depths) > 0 and all(isinstance(d, (int, np.integer)) and 1 <= d <= MAX_DEPTH for d in depths)
    if not valid or any(a >= b for a, b in pairwise(depths)):
        raise SettingError(f"depths = {shown}", wanted=wanted, where="depths")
    depths = tuple(int(d) for d in depths)
    if 2 ** depths[0] > n_labels:
        raise SettingError(
            f"depths = {shown}: {2 ** depths[0]:,} clusters on the coarsest level of {n_labels:,} labels",
            wanted="at most as many clusters as labels",
            where="depths",
        )
    return depths


def cluster(
    features: sp.csr_matrix, depths: Sequence[int], *, seed: int = 0, tolerance: float = 1e-4
) -> LabelTree:
    """Clusters labels by the directions of their features.

    Args:
        features: (L, V) float32 CSR with rows of any length. In a split, rows of zeros rank between the rows
            that are closer to one center and those that are closer to the other.
        depths: level i has 2^depths[i] clusters, or fewer where there are too few labels.
        seed: seeds the choice of the first centers.
        tolerance: 2-means continues while the mean similarity increases by at least this much.
    """
    order, offsets = balanced_tree(features, depths, seed=seed, tolerance=tolerance)
    return LabelTree(tuple(offsets), order)
