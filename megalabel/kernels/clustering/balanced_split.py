"""Recursive balanced spherical 2-means: the labels of each node are ranked between two centers and halved.

The rows (of unit length) of a node's labels are ranked by

    difference[i] = x[i] · (center1 − center0)

and the first half of the ranking, the larger one if their number is odd, becomes the left child (Parabel, Prabhu
et al. 2018; also used by AttentionXML and CascadeXML). Rows are rounded to whole multiples of 2⁻²⁴, the resolution
of float32 below 1: float64 sums of them are then exact in any order, so the tree does not depend on the number of
threads. `plain` below is the reference; the numba version is `_cpu/balanced_split.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.random import below, stream_keys, stream_numbers
from megalabel.kernels.sparse.sparse_rows import as_rows, check_finite

# From this many labels on, compiling (once) and running the numba version is faster than the plain one.
_COMPILED = Operation(__package__, "balanced_split", enough_work=1 << 11)

MAX_ROUNDS = 100  # never reached, since the similarity is bounded and rises by `tolerance` per round

_GRID = float(1 << 24)
_MOST_LABELS = 1 << 29  # sums of more rows than this would no longer be exact


def balanced_tree(
    features: sp.csr_matrix,
    depths: Sequence[int],
    *,
    seed: int = 0,
    tolerance: float = 1e-4,
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """Splits labels into a nested tree whose level i has 2^depths[i] nodes, as even as halving allows.

    The centers of a node start as two distinct random rows of it that have features, drawn from (seed, index of
    the node). Each round ranks by difference, halves, and takes the mean of each half, scaled to unit length, as
    its new center. The rounds end when the mean similarity of the labels to the center of their half has risen by
    less than `tolerance`, or when no label changed sides. (Papers use a summed similarity; with the mean, the
    tolerance does not depend on the size of a node.) Ties in the ranking go to the lower label id. A row without
    features has similarity 0 with everything, so such labels rank between those closer to either center.

    Args:
        features: (L, V) CSR, float32; rows need not be normalized and may be empty.
        depths: the number of halvings at each level, ascending, 1 or more, coarse to fine. A node of one label is
            not split, so beyond log2(L) a level has L nodes.
        seed: any integer; the tree does not depend on the number of threads.
        tolerance: the minimum rise of the mean similarity for another round.

    Returns:
        order (L,) int64: the label at each position; the labels of a leaf are ascending. And one int64 array of
        offsets per level: the children of node j of level i are the nodes offsets[i][j]:offsets[i][j + 1] of level
        i + 1; for the last level, positions.

    Raises:
        DataError: no labels, features that are not a valid sparse matrix, NaN or inf.
        SettingError: depths that do not ascend or are below 1, a tolerance below 0.
    """
    depths = _check_depths(depths)
    if not tolerance >= 0:
        raise SettingError(
            f"a tolerance of {tolerance}", wanted="0 or more", next_step="pass 1e-4", where="tolerance"
        )
    tolerance = float(tolerance)
    features = _as_features(features)
    bounds = _bounds(features.shape[0], depths[-1])
    draws = _draws(seed, len(bounds) - 1)
    fast = _COMPILED.for_work(features.shape[0])
    if fast is None:
        order = plain(features, len(bounds) - 1, draws, tolerance)
    else:
        order = fast.order_of_splits(features, len(bounds) - 1, draws, tolerance, MAX_ROUNDS)
    levels = [bounds[min(depth, len(bounds) - 1)] for depth in depths]
    inner = [np.searchsorted(fine, coarse) for coarse, fine in pairwise(levels)]
    return order, tuple(np.asarray(offsets, dtype=np.int64) for offsets in [*inner, levels[-1]])


def plain(features: sp.csr_matrix, depth: int, draws: np.ndarray, tolerance: float) -> np.ndarray:
    """The label at each position after `depth` halvings, in float64: (L,) int64."""
    rows = unit_rows(features)
    nodes = [(1, np.arange(rows.shape[0], dtype=np.int64))]
    for _ in range(depth):
        halves = []
        for path, labels in nodes:
            if len(labels) == 1:
                halves.append((2 * path, labels))
                continue
            left = _first_half(rows[labels], draws[path], tolerance)
            halves += [(2 * path, labels[left]), (2 * path + 1, labels[~left])]
        nodes = halves
    return np.concatenate([labels for _, labels in nodes])


def unit_rows(features: sp.csr_matrix) -> sp.csr_matrix:
    """Rows of unit length on the grid of 2⁻²⁴, float64; a row of zeros stays zero."""
    values = features.astype(np.float64)
    norms = np.sqrt(np.asarray(values.multiply(values).sum(axis=1))).ravel()
    norms[norms == 0] = 1
    values.data = np.rint(values.data / np.repeat(norms, np.diff(values.indptr)) * _GRID) / _GRID
    return values


def _first_half(rows: sp.csr_matrix, draw: np.ndarray, tolerance: float) -> np.ndarray:
    """Which rows of a node belong to the left child: (n,) bool, of which ceil(n / 2) are True."""
    n = rows.shape[0]
    first, second = center_rows(draw, np.diff(rows.indptr) > 0)
    centers = rows[[first, second]].toarray()
    before = -np.inf
    left = np.zeros(n, dtype=np.bool_)
    for _ in range(MAX_ROUNDS):
        similarity = rows @ centers.T
        ranking = np.argsort(similarity[:, 1] - similarity[:, 0], kind="stable")
        was, left = left, np.zeros(n, dtype=np.bool_)
        left[ranking[: (n + 1) // 2]] = True
        mean = (similarity[left, 0].sum() + similarity[~left, 1].sum()) / n
        if mean - before < tolerance or np.array_equal(was, left):
            break
        before = mean
        sums = np.stack([np.asarray(rows[side].sum(axis=0)).ravel() for side in (left, ~left)])
        norms = np.sqrt((sums**2).sum(axis=1, keepdims=True))
        centers = sums / np.where(norms == 0, 1, norms)
    return left


def center_rows(draw: np.ndarray, filled: np.ndarray) -> tuple[int, int]:
    """Two distinct rows, from a node's random numbers (2,) uint64 and whether rows have features (n,) bool.

    A row without features is replaced by the next one with features, cyclically, if there is one.
    """
    n = len(filled)
    first, second = (int(value) for value in below(draw >> np.uint64(32), np.array([n, n - 1])))
    second += second >= first
    first = _next(filled, first)
    others = filled.copy()
    others[first] = False
    second = _next(others, second)
    return first, second if second != first else (second + 1) % n


def _next(wanted: np.ndarray, row: int) -> int:
    """The first wanted row from `row` on, cyclically; `row` if there is none."""
    return (row + int(np.roll(wanted, -row).argmax())) % len(wanted)


def _draws(seed: int, depth: int) -> np.ndarray:
    """Two random numbers for each node that may be split, by its index: 1, and 2p and 2p + 1 below p."""
    keys = stream_keys(seed, np.arange(1 << depth))
    return np.stack([stream_numbers(keys, 0), stream_numbers(keys, 1)], axis=1)


def _bounds(n_labels: int, depth: int) -> list[np.ndarray]:
    """For each depth from 0 on, the offsets of the nodes and L; stops when all nodes have one label."""
    bounds = [np.array([0, n_labels], dtype=np.int64)]
    while len(bounds) <= depth and len(bounds[-1]) <= n_labels:
        starts, sizes = bounds[-1][:-1], np.diff(bounds[-1])
        middles = (starts + (sizes + 1) // 2)[sizes > 1]
        bounds.append(np.sort(np.concatenate([bounds[-1], middles])))
    return bounds


def _as_features(features: sp.csr_matrix) -> sp.csr_matrix:
    features = as_rows(features, "features")
    if not 0 < features.shape[0] < _MOST_LABELS:
        raise DataError(
            f"the features of {features.shape[0]} labels",
            wanted=f"from 1 to {_MOST_LABELS - 1} rows",
            next_step="pass one row a label",
            where="features",
        )
    if features.dtype != np.float32:
        with np.errstate(over="ignore"):  # check_finite reports it
            features = features.astype(np.float32)
        check_finite(features.data, "features")
    if np.count_nonzero(features.data) < features.nnz:
        features = features.copy()
        features.eliminate_zeros()
    return features


def _check_depths(depths: Sequence[int]) -> list[int]:
    found = [int(depth) for depth in depths]
    rising = all(a < b for a, b in pairwise(found))
    if not found or found[0] < 1 or not rising or found != list(depths):
        raise SettingError(
            f"depths {list(depths)}",
            wanted="one or more whole numbers from 1 on, each greater than the one before",
            next_step="pass the number of halvings at each level, coarse to fine, e.g. 10 13 16",
            where="depths",
        )
    return found
