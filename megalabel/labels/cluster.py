"""How deep a tree is, and its clusters: balanced 2-means, again and again.

Balanced splits of the labels by spherical 2-means are Parabel's (Prabhu et al., WWW 2018); levels of a fixed
number of clusters, nested, with eight children each, are CascadeXML's (arXiv 2211.00640, section 4).
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

LEAF = 8  # labels of a leaf, about
STEP = 3  # halvings between two levels: eight children a cluster
FEW = 11  # a level of 2 to this power is scored whole for every text at no great cost
MOST_LEVELS = 4
DEEPEST = 30


def choose_depths(n_labels: int) -> tuple[int, ...]:
    """Depths for so many labels, coarse to fine; a level of depth d has 2^d clusters.

    The leaves get about 8 labels (6 to 11): 2 to the nearest whole power of L / 8 of them. Above them lies a
    level of an eighth as many clusters, and another, until one has at most 2,048 or there are four. (On wordnet's
    145,716 labels a level of 256 above one of 2,048 cost a point of P@1: docs/log.md.)

    | labels | depths | published |
    |---|---|---|
    | Wiki10-31K, 30,938 | 9, 12 | two levels, leaves at 12 |
    | Amazon-670K, 670,091; Wiki-500K, 501,070 | 10, 13, 16 | the same |
    | Amazon-3M, 2,812,281 | 9, 12, 15, 18 | leaves at 17, so of 21 labels |
    | AmazonCat-13K, 13,330 | 11 | not known; 7 in an older design of one level |
    | LF-AmazonTitles-131K, 131,073 | 11, 14 | re-runs by others: 10, 13, 16 and 9, 12, 15 |
    | LF-WikiSeeAlso-320K, 312,330 | 9, 12, 15 | re-run by others: 10, 13, 16 |
    | LF-AmazonTitles-1.3M, 1,305,265 | 11, 14, 17 | re-run by others: 13, 16, two levels |

    Raises:
        SettingError: fewer than 2 labels.
    """
    if n_labels < 2:
        raise SettingError(
            f"a tree over {n_labels} labels", wanted="2 labels or more", next_step="train without a tree"
        )
    depths = [max(1, round(math.log2(n_labels / LEAF)))]
    while depths[0] > FEW and len(depths) < MOST_LEVELS:
        depths.insert(0, depths[0] - STEP)
    return tuple(depths)


def check_depths(depths: Sequence[int], n_labels: int) -> tuple[int, ...]:
    """The depths as they are, checked against the number of labels.

    Raises:
        SettingError: none, not rising, out of 1 to 30, or more clusters than labels on the coarsest level.
    """
    shown = ",".join(map(str, depths)) or "none"
    wanted = "rising whole numbers from 1 to 30, such as " + ",".join(map(str, choose_depths(n_labels)))
    whole = len(depths) > 0 and all(isinstance(d, (int, np.integer)) and 1 <= d <= DEEPEST for d in depths)
    if not whole or any(a >= b for a, b in pairwise(depths)):
        raise SettingError(f"depths = {shown}", wanted=wanted, next_step="leave them out, or give others")
    depths = tuple(int(d) for d in depths)
    if 2 ** depths[0] > n_labels:
        raise SettingError(
            f"depths = {shown}: {2 ** depths[0]:,} clusters on the coarsest level, of {n_labels:,} labels",
            wanted="no more clusters than labels there",
            next_step="lower the first depth, or leave the depths out",
        )
    return depths


def cluster(
    features: sp.csr_matrix, depths: Sequence[int], *, seed: int = 0, tolerance: float = 1e-4
) -> LabelTree:
    """Clusters of the labels by the directions of their features.

    Args:
        features: (L, V) float32 CSR, of any lengths. Rows of zeros rank between those that lean to either side.
        depths: level i has 2^depths[i] clusters, or fewer where labels are too few.
        seed: of the first centres.
        tolerance: 2-means goes on while the mean similarity grows by so much.
    """
    order, offsets = balanced_tree(features, depths, seed=seed, tolerance=tolerance)
    return LabelTree(tuple(offsets), order)
