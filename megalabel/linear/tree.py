"""Fits a sparse linear classifier per node and label of a tree with a direct solver, as Parabel does."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.distributed.world import World
from megalabel.errors import DataError
from megalabel.kernels.core.random import stream_keys
from megalabel.kernels.linear.chunk_files import ChunkFiles
from megalabel.kernels.linear.compact_chunks import StoredWeights
from megalabel.kernels.linear.dual_descent import LinearWeights, Stop
from megalabel.kernels.linear.post_processor import PostProcessor
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.labels.tree import LabelTree
from megalabel.linear.level_blocks import even_blocks, level_of, text_values
from megalabel.linear.over_ranks import SharedDescent
from megalabel.progress import Progress

ALONE = World()
BIAS = 1.0  # the constant input whose weight is the bias, which is regularized like any weight


def solve_tree(
    x: sp.csr_matrix,
    labels: sp.csr_matrix,
    tree: LabelTree,
    *,
    dense: np.ndarray | None = None,
    weights: np.ndarray | None = None,
    further: sp.csr_matrix | None = None,
    c: float = 1.0,
    tol: float = 0.1,
    max_iter: int = 20,
    prune_below: float = 0.1,
    beam_size: int = 10,
    post_processor: PostProcessor = "l3-hinge",
    stored: StoredWeights = "float32",
    seed: int = 0,
    left_out: np.ndarray | None = None,
    world: World = ALONE,
    title: str = "",
) -> SparseBeam | None:
    """Fits the linear classifiers of a whole tree, each on the texts that have a label below its parent.

    A classifier separates a node from its siblings only, on the texts that reach them (Parabel, WWW 2018,
    section 4; XR-Linear, PECOS, JMLR 2022, section 3.2, "teacher forcing"). A label or cluster without training
    texts ranks after its siblings that have some.

    Args:
        x: (N, V) CSR float32, one row per training text.
        labels, tree: (N, L) CSR, above 0 where a text has a label; a tree over the L labels.
        dense: (N, E) float32, further features of each text, such as its embedding.
        weights: (N,) above 0, the factor of C of each text; None for 1 each.
        further: (N, L) CSR, above 0 where a text is an additional negative of a label ("matcher-aware" negatives).
        c: C, the weight of the squared hinge loss against ½‖w‖².
        tol, max_iter: the stopping criteria of the solver; see `descend`.
        prune_below: weights below this in absolute value are dropped.
        beam_size: the number of nodes per level that a prediction keeps.
        post_processor: turns the score of a node into its probability; see `kernels/linear/post_processor.py`.
        stored: the type in which the weights of the sparse features are stored; see `compact_chunks.py`.
        seed: seeds the order in which the solver visits texts.
        left_out: (n,) rows without labels that no model learns.
        world: the processes that divide the work, all with equal arguments; all but the main one get None.
        title: that of a progress bar; "" for none.

    Raises:
        DataError: texts, labels and tree do not fit each other.
    """
    _check_shapes(x, labels, tree)
    positives = node_texts(labels, tree)
    reached = positives if further is None else node_texts((labels + further).tocsr(), tree)
    of_parents = [_all_but(left_out, x.shape[0]), *reached[:-1]]
    settings: dict[str, Any] = {"c": c, "bias": BIAS, "stop": Stop(tol, max_iter), "prune_below": prune_below}
    fit = partial(SharedDescent(world), x, dense=dense, weights=weights, **settings)
    levels: list[Chunks] = []
    with Progress(title, sum(texts.nnz for texts in of_parents)) as shown:
        for texts, of_children, offsets in zip(of_parents, positives, _families(tree), strict=True):
            solve = partial(_counted, shown, fit, texts, of_children, offsets, seed)
            level = level_of(solve, even_blocks(text_values(texts, x)), ChunkFiles(x.shape[1], offsets, stored))
            levels += [] if level is None else [level]
    beams = [beam_size] * tree.depth
    return SparseBeam(levels, tree.order, beams, post_processor, c=c, prune_below=prune_below) if levels else None


def _all_but(left_out: np.ndarray | None, n: int) -> sp.csr_matrix:
    """The texts of the root, (1, n) CSR of ones, without some."""
    learned = np.setdiff1d(np.arange(n), [] if left_out is None else left_out)
    return sp.csr_matrix((np.ones(len(learned), np.float32), learned, [0, len(learned)]), shape=(1, n))


def node_texts(labels: sp.csr_matrix, tree: LabelTree) -> list[sp.csr_matrix]:
    """The texts with a label below each node, per level and then per label: (n_i, N) float32 CSR of ones."""
    # Rows are label ids, as in the cluster matrix of the last level.
    below = (labels > 0).T.tocsr().astype(np.float32)
    levels = [below[tree.order]]
    for i in reversed(range(tree.depth)):
        below = (tree.cluster_matrix(i).T @ below).tocsr()
        below.data[:] = 1
        levels.insert(0, below)
    return levels


def _check_shapes(x: sp.csr_matrix, labels: sp.csr_matrix, tree: LabelTree) -> None:
    if labels.shape != (x.shape[0], tree.n_labels):
        raise DataError(
            f"labels {labels.shape} for {x.shape[0]:,} texts and a tree of {tree.n_labels:,} labels",
            wanted=f"({x.shape[0]:,}, {tree.n_labels:,})",
            next_step="build the tree from these texts and labels",
        )


def _counted(shown: Progress, fit: Any, texts: sp.csr_matrix, *rest: Any) -> Chunks | None:
    """The result of `_solved`; counts the pairs of parents and texts that were solved."""
    chunks, parents = _solved(fit, texts, *rest), rest[-1]
    shown.advance(int(texts.indptr[parents.stop] - texts.indptr[parents.start]))
    return chunks


def _solved(
    fit: Callable[..., LinearWeights | None],
    texts: sp.csr_matrix,
    positives: sp.csr_matrix,
    offsets: np.ndarray,
    seed: int,
    parents: range,
) -> Chunks | None:
    """The weights of the children of some parents, in chunks of siblings; nodes without texts get a low bias."""
    first, last = parents.start, parents.stop
    if len(parents) < texts.shape[0]:
        texts, positives = texts[first:last], positives[offsets[first] : offsets[last]]
        offsets = offsets[first : last + 1] - offsets[first]
    found = fit(texts, offsets, positives, keys=stream_keys(seed, np.arange(first, last)))
    if found is None:
        return None
    weights = found.sparse
    empty = np.diff(positives.indptr) == 0
    if empty.any():
        weights = _set_low_bias(weights, empty)
    return Chunks.from_weights(weights, offsets, bias=BIAS, dense=found.dense if found.dense.shape[1] else None)


def _families(tree: LabelTree) -> list[np.ndarray]:
    """The offsets of the children of each parent: first of the root, then of the nodes of every level."""
    return [np.asarray(of, dtype=np.int64) for of in ([0, tree.sizes[0]], *tree.offsets)]


def _set_low_bias(weights: sp.csr_matrix, empty: np.ndarray) -> sp.csr_matrix:
    """Gives nodes without texts the bias −1, the limit of the hinge loss for many negatives: (C, V + 1) CSR."""
    rows = np.flatnonzero(empty)
    bias = (np.full(len(rows), -1 / BIAS, dtype=np.float32), (rows, np.full(len(rows), weights.shape[1] - 1)))
    return (weights + sp.csr_matrix(bias, shape=weights.shape)).tocsr()
