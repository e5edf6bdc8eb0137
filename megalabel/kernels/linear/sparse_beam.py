"""Beam search for the best labels of each text in a label tree with sparse weights and inputs.

    z[i, n] = x · weights[i][n] + bias · weights[i][n, V] + u · dense[i][n]
                                                     levels i = 0 … K − 1: clusters, K: labels in tree order
    kept[i] = the beams[i] best candidates of level i; those of level 0 are all its nodes, those of level i + 1
              the children of kept[i]
    p(n)    = Π s(z) over the path from the top to n
    s(z)    = exp(−max(0, 1 − z)³)     post_processor="l3-hinge" (PECOS, Yu et al., JMLR 2022)
            = exp(−max(0, 1 − z)²)     post_processor="l2-hinge"
            = 1 / (1 + exp(−z))        post_processor="sigmoid"

Nodes and labels are ranked by log p, summed in float64; ties go to the lower node, among labels to the lower label
id. A text without known features is scored by the biases. A beam that covers every node makes the search exact.

The compiled code (`_cpu/sparse_beam.py`) processes a batch level by level and chunk by chunk, so that a chunk's
rows stay in the core's cache for all texts that reach it. A text's features are looked up in a chunk by binary
search or, if many texts reach it, in a table of all features into which those of the chunk are written; or in the
records of `prepacked.py`. For a single long text it is the features of a chunk that are looked up in the text, so
that the time has a bound that does not depend on the length of the text. Blocks of texts are distributed over
torch's threads; the result does not depend on their number. `plain` is the reference implementation of the tests.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.kernels.core.checks import check_excluded
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.threads import cpu_threads, parallel_for
from megalabel.kernels.linear._beam_arrays import (
    Heaps,
    Hidden,
    Queries,
    level_arrays,
    ranked,
    spread_of,
    table_of,
    walk_levels,
)
from megalabel.kernels.linear._chunk_checks import check_modest, steady
from megalabel.kernels.linear._levels import check_levels
from megalabel.kernels.linear.post_processor import MODES, PostProcessor, check_post_processor, log_score
from megalabel.kernels.linear.prepacked import prepacked
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.kernels.sparse.sparse_rows import as_rows, check_finite
from megalabel.types import Positives, TopK

_COMPILED = Operation(__package__, "sparse_beam")
_BLOCK = 8192  # maximum number of texts that are searched together
_CELLS = 1 << 24  # maximum size of the heaps of a block
_FEW = 16  # number of texts up to which a table of all features is slower than binary search
_NOTHING = np.empty(0, dtype=np.int64)
_LONG = 128  # number of features from which on a text is long


def plain(
    x: sp.csr_matrix,
    weights: Sequence[sp.csr_matrix],
    offsets: Sequence[np.ndarray],
    order: np.ndarray,
    beams: Sequence[int],
    k: int,
    post_processor: PostProcessor = "l3-hinge",
    exclude: Positives | None = None,
    *,
    bias: float = 1.0,
    inputs: np.ndarray | None = None,
    dense: Sequence[np.ndarray] | None = None,
) -> TopK:
    """The same result in float64 from the weights (C_i, V + 1) of each level, one text at a time.

    offsets are the K of the label tree: children of node j of level i are nodes offsets[i][j] up to
    offsets[i][j + 1] of level i + 1.
    """
    hidden = set() if exclude is None else set(zip(exclude.rows.tolist(), exclude.labels.tolist(), strict=True))
    labels, best = np.full((x.shape[0], k), -1), np.full((x.shape[0], k), -np.inf, dtype=np.float32)
    x = sp.hstack([x, np.full((x.shape[0], 1), bias)]).tocsr().astype(np.float64)
    for t in range(x.shape[0]):
        nodes, above = np.arange(weights[0].shape[0]), np.zeros(weights[0].shape[0])
        for i, weight in enumerate(weights):
            z = (weight.tocsr()[nodes].astype(np.float64) @ x[[t]].T).toarray().ravel()
            if dense is not None and inputs is not None:
                z += dense[i][nodes].astype(np.float64) @ inputs[t]
            keys = above + log_score(z, post_processor)
            if i < len(beams):
                kept = np.sort(np.lexsort((nodes, -keys))[: beams[i]])
                children = [np.arange(offsets[i][n], offsets[i][n + 1]) for n in nodes[kept]]
                above = np.repeat(keys[kept], [len(c) for c in children])
                nodes = np.concatenate(children)
        ids = np.asarray(order)[nodes]
        ranked = [c for c in np.lexsort((ids, -keys)) if (t, int(ids[c])) not in hidden][:k]
        labels[t, : len(ranked)], best[t, : len(ranked)] = ids[ranked], np.exp(keys[ranked])
    return TopK(labels, best)


def topk(
    x: sp.csr_matrix,
    levels: Sequence[Chunks],
    order: np.ndarray,
    beams: Sequence[int],
    k: int,
    post_processor: PostProcessor = "l3-hinge",
    exclude: Positives | None = None,
    inputs: np.ndarray | None = None,
) -> TopK:
    """The k best labels that a beam reaches; arguments and errors as in `SparseBeam`, checked in every call."""
    return SparseBeam(levels, order, beams, post_processor)(x, k, exclude, inputs)


class SparseBeam:
    """Beam search in a tree and its chunks, which are checked once; threads may share an instance.

    Args:
        levels: K + 1 levels of chunks; level 0 is one chunk, node j of a level the parent of chunk j of the next.
        order: (L,) integers, the label id at each node of the last level.
        beams: K numbers, how many nodes of each level are kept; a number above the size of the level keeps all.
        post_processor: the function s that maps the score z of a node to its probability.
        c, prune_below: C and the least absolute weight with which the weights were solved; they are kept for
            `updated_tree` and do not change a search.

    Raises:
        SettingError: levels do not fit each other, a beam is below 1, the post-processor is unknown, or c or
            prune_below is out of range.
    """

    def __init__(
        self,
        levels: Sequence[Chunks],
        order: np.ndarray,
        beams: Sequence[int],
        post_processor: PostProcessor = "l3-hinge",
        *,
        c: float = 1.0,
        prune_below: float = 0.1,
    ) -> None:
        if not (0 < c < math.inf and 0 <= prune_below < math.inf):
            found = f"c = {c!r:.40}, prune_below = {prune_below!r:.40}"
            raise SettingError(found, wanted="numbers above 0, and of 0 or more", where="c")
        check_post_processor(post_processor)
        check_levels(levels, np.asarray(order), beams)
        self.levels, self.post_processor = tuple(levels), post_processor
        self.order = np.array(order, dtype=np.int64)
        self.beams, self.c, self.prune_below = tuple(map(int, beams)), float(c), float(prune_below)
        self.n_features = levels[0].n_features
        self.n_inputs = max(0 if level.dense is None else level.dense.shape[1] for level in levels)
        self._sizes = [(level.width, level.n_nodes) for level in levels]
        ids = [*(np.arange(level.n_nodes) for level in levels[:-1]), self.order]
        self._arrays = tuple(level_arrays(level, numbers) for level, numbers in zip(levels, ids, strict=True))
        self._uniform = len({level.dtypes for level in self._arrays}) == 1

    def with_levels(self, levels: Sequence[Chunks]) -> SparseBeam:
        """The same search with other weights; errors as those of the class."""
        solver = {"c": self.c, "prune_below": self.prune_below}
        return SparseBeam(levels, self.order, self.beams, self.post_processor, **solver)

    def prepack(self) -> None:
        """Copies the weights into records, where they can hold them; see `prepacked.py`. Results stay the same."""
        self._arrays = tuple(prepacked(level, self.n_features) for level in self._arrays)

    def __call__(
        self, x: sp.csr_matrix, k: int, exclude: Positives | None = None, inputs: np.ndarray | None = None
    ) -> TopK:
        """The k best labels that the beam reaches.

        Args:
            x: (N, V) CSR, any floating type.
            k: 1 or more; if fewer labels are reached, the row is filled with label -1 and score -inf.
            exclude: pairs of text and label id that are never returned, in any order.
            inputs: (N, E), the dense inputs, required if there are weights for them.

        Returns:
            Label ids (N, k) int64 and probabilities (N, k) float32, numpy arrays, best first.

        Raises:
            SettingError: k is below 1.
            DataError: x or inputs do not fit or are not finite, or an excluded pair is outside (N, L).
        """
        if k < 1:
            raise SettingError(f"k={k}", wanted="1 or more", next_step="use a k of at least 1", where="k")
        x = as_rows(x, "x")
        n, dense = x.shape[0], self._check_inputs(x, inputs)
        indptr, columns = steady(x.indptr, np.int64), steady(x.indices, np.int32)
        values = steady(x.data, np.float32)
        check_finite(values, "x")  # again: values beyond float32 have become inf
        hidden, cuts = _excluded(exclude, n, len(self.order))
        rooms, mode = tuple(self._rooms(k)), MODES.index(self.post_processor)
        keys, labels = np.empty((n, rooms[-1])), np.empty((n, rooms[-1]), dtype=np.int64)
        found = np.zeros(n, dtype=np.int64)
        fast = _COMPILED.always()
        block = max(1, min(_BLOCK, -(-n // cpu_threads()), _CELLS // max(rooms)))
        block = 1 if n <= _FEW and len(columns) > n * _LONG else block

        def walk(_: int, piece: int) -> None:
            start, stop = piece * block, min((piece + 1) * block, n)
            m, part, ends = stop - start, slice(start, stop), slice(start, stop + 1)
            table = table_of(self._arrays, self.n_features if m > _FEW else 0)
            spread = spread_of(indptr[ends], columns, values, self.n_features, _LONG)
            queries = Queries(indptr[ends], columns, values, dense[part], table, spread)
            best, own = Heaps(keys[part], labels[part], found[part]), Hidden(hidden, cuts[ends])
            if self._uniform:
                fast.descend(queries, self._arrays, rooms, mode, own, best)
            else:  # compiled code takes levels of one type at a time
                walk_levels(fast.descend_level, queries, self._arrays, rooms, mode, own, best)

        parallel_for(walk, -(-n // block))
        return ranked(keys, labels, found, k)

    def _rooms(self, k: int) -> list[int]:
        """The maximum number of nodes of each level that a text can keep, and of labels that it can get."""
        rooms, above = [], 1
        for (width, n_nodes), most in zip(self._sizes, (*self.beams, k), strict=True):
            above = min(most, above * width, n_nodes)
            rooms.append(above)
        return rooms

    def _check_inputs(self, x: sp.csr_matrix, inputs: np.ndarray | None) -> np.ndarray:
        """The dense inputs as (N, E) float32; E is 0 if no level has weights for them."""
        if x.shape[1] != self.n_features:
            raise DataError(
                f"texts of {x.shape[1]} features",
                wanted=f"{self.n_features}, as many as the weights have",
                next_step="compute them with the vocabulary that the model was trained with",
                where="x",
            )
        given = np.empty((x.shape[0], 0), dtype=np.float32) if inputs is None else np.asarray(inputs)
        if given.shape != (x.shape[0], self.n_inputs) or given.dtype.kind != "f":
            raise DataError(
                f"dense inputs {given.shape} of {given.dtype}",
                wanted=f"floats ({x.shape[0]}, {self.n_inputs}), one row per text",
                next_step="pass the embeddings of the same texts" if self.n_inputs else "leave them out",
                where="inputs",
            )
        check_modest(given, "inputs")
        return steady(given, np.float32)


def _excluded(exclude: Positives | None, n: int, n_labels: int) -> tuple[np.ndarray, np.ndarray]:
    """Excluded labels by text, ascending, and where those of each text begin (n + 1,)."""
    if exclude is None or not len(exclude):
        return _NOTHING, np.zeros(n + 1, dtype=np.int64)
    check_excluded(exclude, n, n_labels)
    pairs = np.sort((exclude.rows * n_labels + exclude.labels).numpy())
    return pairs % n_labels, np.searchsorted(pairs, np.arange(n + 1) * n_labels)
