"""The path from the top of a linear tree to a label: the weights of its nodes, and how a beam ranks them.

This reads single nodes in numpy. `kernels/linear/sparse_beam.py` searches whole batches in compiled code.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.linear._chunk_checks import RANGE_BITS, entry_starts
from megalabel.kernels.linear.chunk_weights import weights_at
from megalabel.kernels.linear.post_processor import PostProcessor, log_score
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks

PIECES = 16  # into which the way from no words to a text is cut at first
MOST_PIECES = 1 << 12
TOLERANCE = 1e-9
_POINTS, _WEIGHTS = np.polynomial.legendre.leggauss(8)


class Step(NamedTuple):
    """A node of a path.

    node: its number in the level. features, weights: those of its weights that are not 0, for features of the
    text. bias. dense: (E,) weights of dense inputs. rank: its place among the candidates of the level, from 0;
    None if its parent was not kept. n_candidates: how many there were. beam: how many were kept; 0 at the level
    of the labels, where none are cut.
    """

    node: int
    features: np.ndarray
    weights: np.ndarray
    bias: float
    dense: np.ndarray
    rank: int | None
    n_candidates: int
    beam: int

    @property
    def kept(self) -> bool:
        """Whether the beam reaches what is below the node, or the label itself."""
        return self.rank is not None and (not self.beam or self.rank < self.beam)


def path_of(tree: SparseBeam, label: int) -> list[int]:
    """The nodes from the top level down to a label: one number per level."""
    nodes = [int(np.flatnonzero(tree.order == label)[0])]
    for level in reversed(tree.levels[1:]):
        nodes.insert(0, int(np.searchsorted(level.offsets, nodes[0], side="right")) - 1)
    return nodes


def steps_to(tree: SparseBeam, label: int, x: sp.csr_matrix, inputs: np.ndarray | None = None) -> list[Step]:
    """The path to a label, and the place of each node among the candidates of a text.

    Args:
        tree: the tree.
        label: the label id.
        x: (1, V) CSR, the features of the text.
        inputs: (1, E), its dense inputs, if the tree has weights for them.
    """
    steps: list[Step] = []
    parents, above = np.zeros(1, np.int64), np.zeros(1)
    for i, (level, node) in enumerate(zip(tree.levels, path_of(tree, label), strict=True)):
        parent = int(np.searchsorted(level.offsets, node, side="right")) - 1
        siblings, columns, values = _entries(level, parent, x.indices)
        own = siblings == node - int(level.offsets[parent])
        children = [np.arange(level.offsets[p], level.offsets[p + 1]) for p in parents]
        nodes = np.concatenate(children)
        z = np.concatenate([_logits(level, int(p), x, inputs) for p in parents])
        keys = np.repeat(above, [len(c) for c in children]) + log_score(z, tree.post_processor)
        order = np.lexsort((tree.order[nodes] if i == len(tree.beams) else nodes, -keys))
        place = np.flatnonzero(nodes[order] == node)
        beam = tree.beams[i] if i < len(tree.beams) else 0
        dense = np.zeros(0) if level.dense is None else level.dense[node].astype(np.float64)
        steps.append(
            Step(node, x.indices[columns[own]], values[own], float(level.bias[node]), dense,
                 int(place[0]) if len(place) else None, len(nodes), beam)
        )  # fmt: skip
        kept = np.sort(order[: beam or None])
        parents, above = nodes[kept], keys[kept]
    return steps


def _slope(z: np.ndarray, post_processor: PostProcessor) -> np.ndarray:
    """The derivative of `log_score`."""
    power = 3 if post_processor == "l3-hinge" else 2
    sigmoid = post_processor == "sigmoid"
    found: np.ndarray = (
        1 / (1 + np.exp(np.clip(z, -500, 500))) if sigmoid else power * np.maximum(0, 1 - z) ** (power - 1)
    )
    return found


def path_slopes(
    biases: list[np.ndarray], gains: list[np.ndarray], post_processors: list[PostProcessor]
) -> tuple[list[np.ndarray], float, float]:
    """Mean slopes of the log-probability of a label on the straight way from no words to a text.

        f(a) = ln mean_t exp(Σ_n log_score(bias[t, n] + a · gain[t, n])),   slope[t, n] = ∫ ∂f/∂z[t, n] da, 0 to 1

    These are integrated gradients (Sundararajan, Taly and Yan, ICML 2017) for a function of sums. f(1) − f(0) is
    Σ slope · gain, up to 1e-9: the intervals of the integration are halved until it is.

    Args:
        biases: for each tree, the biases of the nodes of the path.
        gains: for each tree, what all words together add to the scores of these nodes.
        post_processors: those of the trees.

    Returns:
        The slopes, f(0) and f(1).
    """

    def logs(a: np.ndarray) -> np.ndarray:
        return np.stack(
            [
                log_score(bias[:, None] + gain[:, None] * a, kind).sum(axis=0)
                for bias, gain, kind in zip(biases, gains, post_processors, strict=True)
            ]
        )

    def value(a: float) -> float:
        return float(np.logaddexp.reduce(logs(np.array([a]))[:, 0]) - np.log(len(biases)))

    first, last, pieces = value(0.0), value(1.0), PIECES
    while True:
        # Shorter pieces near 0, where a probability of nearly 0 may rise steeply.
        edges = np.linspace(0, 1, pieces + 1) ** 2
        widths = np.diff(edges)
        a = (edges[:-1, None] + widths[:, None] * (_POINTS + 1) / 2).ravel()
        da = (widths[:, None] * _WEIGHTS / 2).ravel()
        sums = logs(a)
        shares = np.exp(sums - np.logaddexp.reduce(sums, axis=0))
        slopes = [
            (_slope(bias[:, None] + gain[:, None] * a, kind) * share * da).sum(axis=1)
            for bias, gain, kind, share in zip(biases, gains, post_processors, shares, strict=True)
        ]
        total = sum(float(slope @ gain) for slope, gain in zip(slopes, gains, strict=True))
        if abs(total - (last - first)) <= TOLERANCE * max(1.0, abs(first), abs(last)) or pieces >= MOST_PIECES:
            return slopes, first, last
        pieces *= 2


def _entries(level: Chunks, parent: int, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The weights of the children of a parent for some features.

    Returns:
        (n,) int64 children, (n,) int64 places of features in `wanted`, and (n,) float64 values.
    """
    columns, rows = _rows_of(level, parent, wanted)
    firsts = entry_starts(level.entries, level.lengths, rows)
    n_entries = entry_starts(level.entries, level.lengths, rows + 1) - firsts
    at = np.repeat(firsts - np.cumsum(n_entries) + n_entries, n_entries) + np.arange(n_entries.sum())
    children = level.children[at].astype(np.int64)
    values = weights_at(level, at, level.offsets[parent] + children)
    return children, np.repeat(columns, n_entries), values.astype(np.float64)


def _rows_of(level: Chunks, parent: int, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which of some features have a row in the chunk of a parent, and these rows: two (n,) int64."""
    n_ranges = level.n_ranges
    ranges = wanted >> RANGE_BITS if n_ranges > 1 else np.zeros_like(wanted)
    inside = (wanted - (ranges << RANGE_BITS)).astype(level.features.dtype)
    columns, rows = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
    for number in np.unique(ranges).tolist():
        first, last = level.starts[parent * n_ranges + number : parent * n_ranges + number + 2].tolist()
        own = np.flatnonzero(ranges == number)
        stored = level.features[first:last]
        place = np.searchsorted(stored, inside[own])
        found = place < len(stored)
        found[found] = stored[place[found]] == inside[own[found]]
        columns.append(own[found])
        rows.append(first + place[found])
    return np.concatenate(columns), np.concatenate(rows)


def _logits(level: Chunks, parent: int, x: sp.csr_matrix, inputs: np.ndarray | None) -> np.ndarray:
    """The scores of the children of a parent, (children,) float64."""
    nodes = slice(int(level.offsets[parent]), int(level.offsets[parent + 1]))
    children, columns, values = _entries(level, parent, x.indices)
    z = level.bias[nodes].astype(np.float64)
    z += np.bincount(children, values * x.data[columns], minlength=len(z))
    if level.dense is not None and inputs is not None:
        z += level.dense[nodes].astype(np.float64) @ inputs[0].astype(np.float64)
    return z
