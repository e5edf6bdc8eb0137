"""Checks that levels of sparse chunks form one label tree."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from megalabel.errors import SettingError
from megalabel.kernels.linear.sparse_chunks import Chunks


def check_levels(levels: Sequence[Chunks], order: np.ndarray, beams: Sequence[int]) -> None:
    """Raises SettingError unless the levels form one tree with its labels in `order`, with a beam per level."""
    fine = len(levels) > 0 and levels[0].n_chunks == 1 and len({level.n_features for level in levels}) == 1
    if not fine or any(below.n_chunks != above.n_nodes for above, below in pairwise(levels)):
        raise SettingError(
            f"levels {list(levels)}",
            wanted="one chunk on the first level, then one per node of the level above, of the same features",
            next_step="create every level with the offsets of the same label tree",
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
            next_step="use the order of the label tree that the levels belong to",
            where="order",
        )
    if len(beams) != len(levels) - 1 or any(beam < 1 for beam in beams):
        raise SettingError(
            f"beams {list(beams)}",
            wanted=f"{len(levels) - 1} numbers of 1 or more, one per level of clusters",
            next_step="pass the number of clusters that are kept on each level",
            where="beams",
        )
