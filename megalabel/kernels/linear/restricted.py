"""Cuts a tree of sparse linear models down to some labels, whose scores stay and are all computed.

The nodes on the paths to the labels are kept. Beams cover every node, so the search is exact: it finds all of the
labels, also where the beam of the whole tree would lose them.
"""

from __future__ import annotations

import numpy as np

from megalabel.kernels.linear.chunk_weights import weights_of
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks


def cut_beam(beam: SparseBeam, labels: np.ndarray) -> SparseBeam:
    """An exact search over some labels of a tree; label i of it is labels[i].

    Args:
        beam: the search in the whole tree.
        labels: (n,) int64, ascending ids of labels, at least one.
    """
    n = len(beam.order)
    position = np.empty(n, np.int64)
    position[beam.order] = np.arange(n)
    nodes = np.sort(position[labels])
    order = np.searchsorted(labels, beam.order[nodes])
    levels: list[Chunks] = []
    for level in reversed(beam.levels):
        parents = np.searchsorted(level.offsets, nodes, side="right") - 1
        kept, counts = np.unique(parents, return_counts=True)
        dense = None if level.dense is None else level.dense[nodes]
        offsets = np.concatenate([[0], np.cumsum(counts)])
        levels.insert(0, Chunks.from_weights(weights_of(level, kept, nodes), offsets, bias=1.0, dense=dense))
        nodes = kept
    return SparseBeam(levels, order, [level.n_nodes for level in levels[:-1]], beam.post_processor)
