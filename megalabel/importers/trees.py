"""Linear models of other tools, in which leaves may lie at any depth, as the label trees of `LinearClassifier`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.linear.post_processor import PostProcessor
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks

CERTAIN, NEVER = 100.0, -1e4  # scores of probability 1 and 0 for every post-processor


@dataclass
class Node:
    """A node of a tree with the weights of its children.

    weights: (C, V + 1) CSR, the last column for a constant input of 1. children: C nodes; none for a leaf, whose
    children are labels. labels: (C,) integers.
    """

    weights: sp.csr_matrix
    children: Sequence[Node] = ()
    labels: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))


def beam_of(root: Node, n_labels: int, beam: int, post_processor: PostProcessor) -> SparseBeam:
    """The tree with all leaves at one depth: one above it is followed by a node of probability 1 per level.

    Args:
        root: the root; no label may occur twice.
        n_labels: L; labels that do not occur have the probability 0.
        beam: the nodes of each level that are kept.
        post_processor: the function from scores to probabilities.

    Raises:
        ValueError: weights or labels that do not fit each other.
        DataError: weights that are not finite.
    """
    nodes, levels = [root], []
    while any(node.children for node in nodes):
        below: list[Node] = []
        for node in nodes:
            below += node.children or [node]
        weights = [
            node.weights if node.children else _constant(1, node.weights.shape[1], CERTAIN) for node in nodes
        ]
        levels.append(_level(weights))
        nodes = below
    labels = np.concatenate([node.labels for node in nodes]).astype(np.int64)
    absent = np.setdiff1d(np.arange(n_labels), labels)
    weights = [node.weights for node in nodes]
    weights[-1] = sp.vstack([weights[-1], _constant(len(absent), root.weights.shape[1], NEVER)]).tocsr()
    order = np.append(labels, absent)
    if len(order) != n_labels or weights[-1].shape[0] != len(nodes[-1].labels) + len(absent):
        raise ValueError(f"{len(labels)} labels in the leaves of a tree, of {n_labels}")
    levels.append(_level(weights))
    return SparseBeam(levels, order, [beam] * (len(levels) - 1), post_processor)


def reach(tree: SparseBeam) -> int:
    """The largest number of labels that a search can reach."""
    leaves = np.sort(np.diff(tree.levels[-1].offsets))[::-1]
    return int(leaves[: tree.beams[-1]].sum() if tree.beams else leaves.sum())


def _level(weights: list[sp.csr_matrix]) -> Chunks:
    offsets = np.cumsum([0, *(part.shape[0] for part in weights)])
    return Chunks.from_weights(sp.vstack(weights).tocsr().astype(np.float32), offsets)


def _constant(n: int, width: int, score: float) -> sp.csr_matrix:
    """Weights (n, width) of nodes that have one score for every text."""
    cells = np.full(n, score, np.float32), (np.arange(n), np.full(n, width - 1))
    return sp.csr_matrix(cells, shape=(n, width))
