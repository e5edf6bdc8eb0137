"""Checks that levels of sparse chunks form one label tree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from megalabel.errors import SettingError
from megalabel.kernels.linear.sparse_chunks import Chunks


def check_levels(levels: Sequence[Chunks], order: np.ndarray, beams: Sequence[int]) -> None:
    """Raises SettingError unless the levels form one tree, with its labels in `order` and a beam a level."""
    fine = len(levels) > 0 and levels[0].n_chunks == 1 and len({level.n_features for level in levels}) == 1
    if not fine or any(below.n_chunks != above.n_nodes for above, below in pairwise(levels)):
        raise SettingError(
            f"levels {list(levels)}",
            wanted="one chunk on top, then one for each node of the level above, all over the same features",
            next_step="make every level with the offsets of one label tree",
            where="levels",
        )
    if len({level.dense.shape[1] for level in levels if level.dense is not None}) > 1:
        raise SettingError(
            "levels with dense weights of several widths",
            wanted="one",
            next_step="train all levels on the same embeddings",
            where="levels",
        )
    n = levels[-1].n_nodes
    if order.shape != (n,) or order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(n)):
        raise SettingError(
            f"an order of shape {order.shape} and type {order.dtype}",
            wanted=f"each label from 0 to {n - 1} once",
            next_step="take the order of the label tree that the levels were made with",
            where="order",
        )
    if len(beams) != len(levels) - 1 or any(beam < 1 for beam in beams):
        raise SettingError(
            f"beams {list(beams)}",
            wanted=f"{len(levels) - 1} numbers, one for each level of clusters, 1 or more",
            next_step="name how many clusters of each level are kept",
            where="beams",
        )
