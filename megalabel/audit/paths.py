"""Scores of given pairs of a text and a label along the path to the label in a linear tree.

A search finds the best labels of a text and says nothing of the others. The path tells a label of another subject,
whose clusters do not fit the text, from one that only loses against its siblings.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.audit.pairs import products
from megalabel.kernels.linear.chunk_weights import weights_of
from megalabel.kernels.linear.post_processor import PostProcessor, log_score
from megalabel.kernels.linear.sparse_beam import SparseBeam


class TreePaths(NamedTuple):
    """The weights of a tree by node, and the nodes on the path to each label.

    weights: for each level, (nodes, V) CSR. biases: for each level, (nodes,) float32. nodes: for each level, (L,)
    int64. post_processor: see `SparseBeam`.
    """

    weights: list[sp.csr_matrix]
    biases: list[np.ndarray]
    nodes: list[np.ndarray]
    post_processor: PostProcessor

    @classmethod
    def of_tree(cls, tree: SparseBeam) -> TreePaths:
        """Reads a tree."""
        node = np.empty(len(tree.order), np.int64)
        node[tree.order] = np.arange(len(node))
        nodes: list[np.ndarray] = []
        weights: list[sp.csr_matrix] = []
        for level in reversed(tree.levels):
            nodes.insert(0, node)
            every = weights_of(level, np.arange(level.n_chunks), np.arange(level.n_nodes))
            weights.insert(0, every[:, : level.n_features])
            node = np.searchsorted(level.offsets, node, side="right") - 1
        return cls(weights, [np.array(level.bias) for level in tree.levels], nodes, tree.post_processor)

    def log_scores(self, x: sp.csr_matrix, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        """ln P(node | parent) on each level of the paths of P pairs of a row and a label: (P, levels) float64."""
        found = np.empty((len(rows), len(self.nodes)))
        for i, (weights, bias, nodes) in enumerate(zip(self.weights, self.biases, self.nodes, strict=True)):
            node = nodes[columns]
            found[:, i] = log_score(products(x, weights, rows, node) + bias[node], self.post_processor)
        return found
