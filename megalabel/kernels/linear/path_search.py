"""Scores of some labels of a tree of sparse linear models, along the paths to them and nowhere else.

A chunk of siblings is scored where a path passes it, so the time depends on the number of labels and not on the
size of the tree. For many texts the tree is cut down to the labels instead (`restricted.py`), which takes seconds
for a thousand labels of a hundred thousand, and then finds them as fast as any tree. Both give the same scores.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.kernels.core.checks import check_excluded
from megalabel.kernels.linear._beam_arrays import Heaps, Hidden, Queries
from megalabel.kernels.linear._chunk_checks import steady
from megalabel.kernels.linear.post_processor import MODES
from megalabel.kernels.linear.restricted import cut_beam
from megalabel.kernels.linear.sparse_beam import _COMPILED, SparseBeam
from megalabel.kernels.sparse.sparse_rows import as_rows, check_finite
from megalabel.types import Positives, TopK

MANY = 256  # texts in a call from which on the tree is cut
_CELLS = 1 << 22  # scores that are held at a time


class PathSearch:
    """An exact search over some labels of a tree; label i of it is labels[i].

    Args:
        beam: the search in the whole tree.
        labels: (n,) int64, ascending, at least one.

    Raises:
        SettingError: labels that are not ascending ids of the tree.
    """

    def __init__(self, beam: SparseBeam, labels: np.ndarray) -> None:
        labels = np.asarray(labels, np.int64)
        n = len(beam.order)
        if labels.ndim != 1 or not len(labels) or labels[0] < 0 or labels[-1] >= n or (np.diff(labels) < 1).any():
            raise SettingError(
                f"labels of shape {labels.shape}", wanted=f"ascending ids below {n:,}", where="labels"
            )
        self.beam, self.labels, self.order = beam, labels, np.arange(len(labels))
        self.n_features, self.n_inputs = beam.n_features, beam.n_inputs
        position = np.empty(n, np.int64)
        position[beam.order] = np.arange(n)
        nodes = np.sort(position[labels])
        self._paths: list[np.ndarray] = []
        for level in reversed(beam.levels):
            self._paths.insert(0, nodes)  # of each level, the nodes on the paths, ascending
            nodes = np.unique(np.searchsorted(level.offsets, nodes, side="right") - 1)
        self._label_of = np.searchsorted(labels, beam.order[self._paths[-1]])

    @cached_property
    def cut(self) -> SparseBeam:
        """The tree cut down to the labels."""
        return cut_beam(self.beam, self.labels)

    def __call__(
        self, x: sp.csr_matrix, k: int, exclude: Positives | None = None, inputs: np.ndarray | None = None
    ) -> TopK:
        """The k best of the labels; arguments, result and errors as those of `SparseBeam`."""
        if x.shape[0] >= MANY or k < 1:
            return self.cut(x, k, exclude, inputs)
        x = as_rows(x, "x")
        n, dense = x.shape[0], self.beam._check_inputs(x, inputs)
        check_finite(steady(x.data, np.float32), "x")
        keys = np.empty((n, len(self.labels)))
        step = max(
            1,
            _CELLS
            // max(level.width * len(path) for level, path in zip(self.beam.levels, self._paths, strict=True)),
        )
        for start in range(0, n, step):
            rows = slice(start, start + step)
            keys[rows, self._label_of] = self._scores(x[rows], dense[rows])
        if exclude is not None and len(exclude):
            check_excluded(exclude, n, len(self.labels))
            keys[exclude.rows.numpy(), exclude.labels.numpy()] = -np.inf
        return _best(keys, k)

    def _scores(self, x: sp.csr_matrix, dense: np.ndarray) -> np.ndarray:
        """The logarithms of the scores of the labels, in the order of their nodes: (n, labels) float64."""
        n, fast, mode = x.shape[0], _COMPILED.always(), MODES.index(self.beam.post_processor)
        columns, values = steady(x.indices, np.int32), steady(x.data, np.float32)
        queries = Queries(
            steady(x.indptr, np.int64), columns, values, dense, np.empty(0, np.int32), np.empty(0, np.float32)
        )
        nothing = Hidden(np.empty(0, np.int64), np.zeros(n + 1, np.int64))
        keys, above = np.zeros((n, 1)), np.zeros(1, np.int64)
        for arrays, level, path in zip(self.beam._arrays, self.beam.levels, self._paths, strict=True):
            children = np.concatenate([np.arange(level.offsets[p], level.offsets[p + 1]) for p in above.tolist()])
            heaps = Heaps(keys, np.tile(above, (n, 1)), np.full(n, len(above)))
            found = Heaps(
                np.empty((n, len(children))), np.empty((n, len(children)), np.int64), np.zeros(n, np.int64)
            )
            fast.descend_level(queries, heaps, arrays, mode, nothing, found)
            by_id = np.argsort(found.nodes, axis=1)  # every child is found, so that all texts have the same ones
            ids = np.take_along_axis(found.nodes, by_id, 1)[0] if n else arrays.ids[children]
            places = by_id[:, np.searchsorted(ids, arrays.ids[path])]
            keys, above = np.take_along_axis(found.keys, places, 1), path
        return keys


def path_searches(beams: Sequence[SparseBeam], labels: np.ndarray) -> list[Any]:
    """Searches over some labels, which take the place of those in the whole trees; errors as `PathSearch`."""
    return [PathSearch(beam, labels) for beam in beams]


def _best(keys: np.ndarray, k: int) -> TopK:
    """The k largest of each row as scores, ties to the lower label; -1 and -inf where there are fewer."""
    ids, scores = np.full((len(keys), k), -1), np.full((len(keys), k), -np.inf, np.float32)
    order = np.argsort(-keys, axis=1, kind="stable")[:, :k]
    best = np.take_along_axis(keys, order, 1)
    there = best > -np.inf
    ids[:, : order.shape[1]] = np.where(there, order, -1)
    scores[:, : order.shape[1]] = np.where(there, np.exp(best), -np.inf)
    return TopK(ids, scores)
