"""One sparse linear model for each node and label of a tree, solved and not stepped: the head of Parabel."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError
from megalabel.kernels.linear.dual_descent import descend
from megalabel.kernels.linear.sparse_beam import Scores, SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.labels.tree import LabelTree

BIAS = 1.0  # the input whose weight is the bias; its optimum is regularised like any weight


def solve_tree(
    x: sp.csr_matrix,
    labels: sp.csr_matrix,
    tree: LabelTree,
    *,
    dense: np.ndarray | None = None,
    further: sp.csr_matrix | None = None,
    cost: float = 1.0,
    eps: float = 0.1,
    rounds: int = 20,
    threshold: float = 0.1,
    beam: int = 10,
    scores: Scores = "l3-hinge",
    seed: int = 0,
) -> SparseBeam:
    """The linear models of a whole tree, each trained on the texts that have a label below its parent.

    A node is told from its siblings only: by the texts that reach them (Parabel, WWW 2018, section 4; XR-Linear,
    PECOS, JMLR 2022, section 3.2, "teacher forcing"). A label or cluster without any text never answers before
    one that has some.

    Args:
        x: (N, V) CSR float32, a row a training text.
        labels: (N, L) CSR, above 0 where a text has a label.
        tree: over the L labels.
        dense: (N, E) float32, further features of each text, such as its embedding.
        further: (N, L) CSR, above 0 where a label's siblings shall be told from it on a text that has none of
            them: what a shortlist wrongly holds for the text ("matcher-aware" negatives).
        cost: C, what a unit of squared loss costs beside ½‖w‖².
        eps, rounds: when the solver ends; see `descend`.
        threshold: weights below it in absolute value are dropped.
        beam: nodes of each level that a prediction keeps.
        scores: how a node's z becomes its probability; see `kernels/linear/sparse_beam.py`.
        seed: of the order in which texts are visited.

    Raises:
        DataError: texts, labels and tree that do not fit each other.
    """
    if labels.shape != (x.shape[0], tree.n_labels):
        raise DataError(
            f"labels {labels.shape} for {x.shape[0]:,} texts and a tree of {tree.n_labels:,} labels",
            wanted=f"({x.shape[0]:,}, {tree.n_labels:,})",
            next_step="build the tree from these very texts and labels",
        )
    positives = node_texts(labels, tree)
    everywhere = sp.csr_matrix(np.ones((1, x.shape[0]), dtype=np.float32))
    reached = positives if further is None else node_texts((labels + further).tocsr(), tree)
    levels = []
    for i, offsets in enumerate(_families(tree)):  # one after the other, as all weights at once may be too many
        found = descend(
            x,
            reached[i - 1] if i else everywhere,
            np.asarray(offsets, dtype=np.int64),
            positives[i],
            dense=dense,
            cost=cost,
            bias=BIAS,
            eps=eps,
            rounds=rounds,
            threshold=threshold,
            seed=seed,
        )
        weights = found.sparse
        empty = np.diff(positives[i].indptr) == 0
        if empty.any():
            weights = _silenced(weights, empty)
        levels.append(Chunks.of(weights, offsets, bias=BIAS, dense=None if dense is None else found.dense))
        del found, weights
    return SparseBeam(levels, tree.order, [beam] * tree.depth, scores)


def node_texts(labels: sp.csr_matrix, tree: LabelTree) -> list[sp.csr_matrix]:
    """Which texts have a label below each node, by level, places of labels last: (n_i, N) float32 CSR of ones."""
    below = (labels > 0).T.tocsr().astype(np.float32)  # by label id, as the last level's clusters are
    levels = [below[tree.order]]
    for i in reversed(range(tree.depth)):
        below = (tree.cluster_matrix(i).T @ below).tocsr()
        below.data[:] = 1
        levels.insert(0, below)
    return levels


def _families(tree: LabelTree) -> list[np.ndarray]:
    """Where each parent's children begin and end within their level: the root's, then those of every level."""
    return [np.array([0, tree.sizes[0]]), *tree.offsets]


def _silenced(weights: sp.csr_matrix, empty: np.ndarray) -> sp.csr_matrix:
    """Gives nodes without texts the bias −1, where the hinge of many texts without them would end; (C, V + 1)."""
    rows = np.flatnonzero(empty)
    bias = (np.full(len(rows), -1 / BIAS, dtype=np.float32), (rows, np.full(len(rows), weights.shape[1] - 1)))
    return (weights + sp.csr_matrix(bias, shape=weights.shape)).tocsr()
