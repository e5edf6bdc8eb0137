"""Learns further texts with a tree of linear classifiers, starting from the weights that it has.

    min_Δ  ½‖Δ‖² + C / 4 · Σ_i C_i · max(0, 1 − y_i (w + Δ)·x_i)²     over the new texts of the node's parent

The weights w of a node are Σ α_i y_i x_i over the texts that it was trained on. Minimizing the above is
therefore one block of dual coordinate ascent on the problem of all texts, those of before included: the α of the
new texts are set to their optimum, and those of the earlier texts, which are not needed, stay. As these do not
give way, C is divided by 4. Nodes without new texts of their parent keep their weights.

The bias does not move. It is what separates a node from all texts that have none of its words, and a few new texts
would raise it for the labels that they have. Weights that were dropped in training are 0, and new ones below the
same bound are dropped. C / 4 and the bias were compared in docs/notes/0038-labels-that-come-and-go.md.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.core.random import stream_keys
from megalabel.kernels.linear.chunk_weights import weights_of
from megalabel.kernels.linear.compact_chunks import weight_counts
from megalabel.kernels.linear.dual_descent import Stop, descend
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.labels.tree import LabelTree
from megalabel.linear.level_blocks import changed_level, text_values
from megalabel.linear.tree import BIAS, node_texts

SHARE = 0.25  # of C
MAX_ITER = 8
FINE = 0.25  # of the bound: smaller changes of weights that there are do not matter


def updated_tree(
    beam: SparseBeam,
    x: sp.csr_matrix,
    labels: sp.csr_matrix,
    *,
    dense: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    tol: float = 0.1,
    seed: int = 0,
) -> SparseBeam:
    """The same tree after it has learned further texts; memory grows with these and not with the weights.

    Args:
        beam: the tree, with the C of its training.
        x: (N, V) CSR float32, one row per new text.
        labels: (N, L) CSR, above 0 where a text has a label; texts without labels are not learned.
        dense: (N, E) float32, further features of each text where the tree has weights for them.
        weights: (N,) above 0, the factor of C of each text; None for 1 each.
        tol: the stopping criterion of the solver; see `descend`.
        seed: seeds the order in which the solver visits texts.

    Raises:
        DataError: texts, labels and tree do not fit each other.
    """
    tree = LabelTree(tuple(level.offsets for level in beam.levels[1:]), beam.order)
    positives = node_texts(labels, tree)
    some = sp.csr_matrix((np.diff(labels.indptr) > 0).astype(np.float32)[np.newaxis])
    levels = []
    for i, level in enumerate(beam.levels):
        texts = positives[i - 1] if i else some

        def changed(
            parents: range, level: Chunks = level, texts: sp.csr_matrix = texts, own: sp.csr_matrix = positives[i]
        ) -> Chunks:
            keys = stream_keys(seed, np.arange(parents.start, parents.stop))
            options = {"weights": weights, "c": SHARE * beam.c, "stop": Stop(tol, MAX_ITER), "keys": keys}
            return _changed(level, parents, x, dense, texts, own, beam.prune_below, options)

        levels.append(changed_level(level, changed, weight_counts(level) + text_values(texts, x)))
    return beam.with_levels(levels)


def _changed(
    level: Chunks,
    parents: range,
    x: sp.csr_matrix,
    dense: np.ndarray | None,
    texts: sp.csr_matrix,
    positives: sp.csr_matrix,
    prune_below: float,
    options: dict[str, Any],
) -> Chunks:
    """The chunks of some parents of a level after the update."""
    first, last = parents.start, parents.stop
    nodes = range(int(level.offsets[first]), int(level.offsets[last]))
    old = weights_of(level, np.arange(first, last), np.arange(nodes.start, nodes.stop))
    old_dense = None if level.dense is None else level.dense[nodes.start : nodes.stop]
    offsets = level.offsets[first : last + 1] - nodes.start
    texts, positives = texts[first:last], positives[nodes.start : nodes.stop]
    if not texts.nnz:
        return Chunks.from_weights(old, offsets, bias=BIAS, dense=old_dense)
    given = dense if old_dense is not None else None
    scores = scores_of(old, old_dense, x, given, texts, offsets)
    options = {**options, "dense": given, "scores": scores, "bias": 0.0, "prune_below": FINE * prune_below}
    found = descend(x, texts, offsets, positives, **options)
    new_dense = None if old_dense is None else old_dense + found.dense
    return Chunks.from_weights(added_to(old, found.sparse, prune_below), offsets, bias=BIAS, dense=new_dense)


def scores_of(
    weights: sp.csr_matrix,
    of_dense: np.ndarray | None,
    x: sp.csr_matrix,
    dense: np.ndarray | None,
    texts: sp.csr_matrix,
    offsets: np.ndarray,
) -> np.ndarray:
    """The scores that nodes give to the texts of their parents, as `descend` takes them: (S,) float32.

    Args:
        weights: (C, V + 1) CSR, the bias last.
        of_dense: (C, E), the weights of dense features, or None.
        x, dense: the features of all texts.
        texts: (M, N) CSR, above 0 where a parent has a text.
        offsets: (M + 1,), the children of each parent.
    """
    words, parts = weights[:, :-1], [np.empty(0, np.float32)]
    bias = weights[:, [-1]].toarray() * np.float32(BIAS)
    for p in np.flatnonzero(np.diff(texts.indptr)).tolist():
        rows, own = texts.indices[texts.indptr[p] : texts.indptr[p + 1]], slice(offsets[p], offsets[p + 1])
        values = (words[own] @ x[rows].T).toarray() + bias[own]
        if of_dense is not None and dense is not None:
            values += of_dense[own] @ dense[rows].T
        parts.append(values.astype(np.float32).ravel())
    return np.concatenate(parts)


def added_to(weights: sp.csr_matrix, change: sp.csr_matrix, prune_below: float) -> sp.csr_matrix:
    """Weights (C, V + 1) with a change (C, V) of all but the bias; new weights below a bound are left out."""
    known = weights.copy()
    known.data = np.ones_like(known.data)
    wide = sp.csr_matrix((change.data, change.indices, change.indptr), shape=weights.shape)
    large = wide.copy()
    large.data = np.where(np.abs(wide.data) >= prune_below, wide.data, 0)
    small = (wide - large).multiply(known)
    found = (weights + large + small).tocsr().astype(np.float32)
    found.sort_indices()
    return found
