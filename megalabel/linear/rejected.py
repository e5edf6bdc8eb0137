"""Linear classifiers that learn of single labels that a text does not have.

    min_Δ  ½‖Δ‖² + C / 4 · Σ_i C_i · max(0, 1 + (w + Δ)·x_i)²     over the texts x_i of the label

The texts are those for which somebody rejected the label. This is the step of `linear/update.py` for one label
alone: nothing is said of its siblings in the tree, which a text with a right label would take as negatives. The
classifiers of clusters stay, since a cluster may hold labels that the text has.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.linear.chunk_weights import weights_of
from megalabel.kernels.linear.compact_chunks import weight_counts
from megalabel.kernels.linear.dual_descent import Stop, descend
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.linear.level_blocks import changed_level
from megalabel.linear.tree import BIAS
from megalabel.linear.update import FINE, MAX_ITER, SHARE, added_to, scores_of


def rejecting_tree(
    beam: SparseBeam,
    x: sp.csr_matrix,
    rejected: sp.csr_matrix,
    *,
    dense: np.ndarray | None = None,
    weights: np.ndarray | None = None,
) -> SparseBeam:
    """The same tree after it has learned that some texts do not have some labels.

    Args:
        beam: the tree, with the C of its training.
        x: (N, V) CSR float32, one row per text.
        rejected: (N, L) CSR, above 0 where a text does not have a label.
        dense: (N, E) float32, further features of each text where the tree has weights for them.
        weights: (N,) above 0, the factor of C of each text; None for 1 each.
    """
    level, texts = beam.levels[-1], rejected.T.tocsr()[beam.order]

    def changed(parents: range) -> Chunks:
        nodes = range(int(level.offsets[parents.start]), int(level.offsets[parents.stop]))
        old = weights_of(level, np.arange(parents.start, parents.stop), np.arange(nodes.start, nodes.stop))
        of_dense = None if level.dense is None else level.dense[nodes.start : nodes.stop]
        own = texts[nodes.start : nodes.stop]
        new, new_dense = rejecting_classifiers(
            old, x, own, c=beam.c, prune_below=beam.prune_below, of_dense=of_dense, dense=dense, factors=weights
        )
        offsets = level.offsets[parents.start : parents.stop + 1] - nodes.start
        return Chunks.from_weights(new, offsets, bias=BIAS, dense=new_dense)

    return beam.with_levels([*beam.levels[:-1], changed_level(level, changed, weight_counts(level))])


def rejecting_classifiers(
    weights: sp.csr_matrix,
    x: sp.csr_matrix,
    texts: sp.csr_matrix,
    *,
    c: float,
    prune_below: float,
    of_dense: np.ndarray | None = None,
    dense: np.ndarray | None = None,
    factors: np.ndarray | None = None,
) -> tuple[sp.csr_matrix, np.ndarray | None]:
    """Classifiers of n labels, and their weights of dense features, after they have learned negatives.

    Args:
        weights: (n, V + 1) CSR, the bias last.
        x: (N, V) CSR float32, one row per text.
        texts: (n, N) CSR, above 0 where a label is rejected for a text.
        c: C of the training.
        prune_below: new weights below this in absolute value are dropped.
        of_dense, dense: (n, E) weights, and (N, E) features of the texts; None for none.
        factors: (N,) above 0, the weight of each text; None for 1 each.
    """
    some = np.flatnonzero(np.diff(texts.indptr))
    if not len(some):
        return weights, of_dense
    alone, old, own = np.arange(len(some) + 1), weights[some], texts[some].astype(np.float32)
    given = dense if of_dense is not None else None
    scores = scores_of(old, None if of_dense is None else of_dense[some], x, given, own, alone)
    found = descend(
        x, own, alone, sp.csr_matrix(own.shape, dtype=np.float32), dense=given, weights=factors, scores=scores,
        c=SHARE * c, bias=0.0, stop=Stop(max_iter=MAX_ITER), prune_below=FINE * prune_below,
    )  # fmt: skip
    place = sp.csr_matrix((np.ones(len(some), np.float32), (some, alone[:-1])), (weights.shape[0], len(some)))
    if of_dense is not None:
        of_dense = of_dense.copy()
        of_dense[some] += found.dense
    return added_to(weights, (place @ found.sparse).tocsr(), prune_below), of_dense
