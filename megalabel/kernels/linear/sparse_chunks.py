"""The sparse weights of one level of a label tree, stored by groups of siblings that share feature look-ups.

The children of one parent form a *chunk*. Most of their weights are zero, but siblings often have nonzero weights
for the same features, since they were trained on the same texts. A chunk therefore stores the features with a
nonzero weight of any child, in ascending order, each with its (child, weight) entries; a feature of a text is
looked up once per chunk instead of once per child (masked sparse chunk multiplication: Etter, Zhong, Yu, Ying and
Dhillon, "Accelerating Inference for Sparse Extreme Multi-Label Ranking Trees", WWW 2022). With up to 256 siblings,
an entry takes 5 bytes and a feature of a chunk 8; `compact_chunks.py` makes both smaller.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError
from megalabel.kernels.linear._chunk_checks import (
    RANGE_BITS,
    ROWS_PER_ENTRY,
    check_numbers,
    check_rising,
    check_types,
    number_of_ranges,
    steady,
)
from megalabel.kernels.sparse.sparse_rows import as_rows

__all__ = ["RANGE_BITS", "ROWS_PER_ENTRY", "Chunks", "narrow_integers"]

_BLOCK = 1 << 22  # number of entries that are grouped at a time


@dataclass(frozen=True, eq=False)
class Chunks:
    """The weights of C nodes below P parents, over V sparse features and, with `dense`, E dense ones.

    n_features: V.
    offsets: (P + 1,) int64: the children of parent p are nodes offsets[p] up to offsets[p + 1] of this level.
    starts: (P·H + 1,) int64: the rows of the chunk of parent p whose features are in range h of H are
        starts[p·H + h] up to starts[p·H + h + 1].
    features: (R,) the feature of each row, ascending within a chunk: int32, and H = 1; or uint16, the feature
        minus 65,536 · h, and H is the number of such ranges of features.
    entries: (R + 1,) uint32, or int64 if that is too narrow: the entries of row r are entries[r] up to
        entries[r + 1]. With lengths (⌈R / 8⌉ + 1,): where the entries of every eighth row begin, and the end.
    children: uint8, uint16 or int32, depending on the largest chunk: the child of each entry, as its position
        among its siblings.
    values: the weight of each entry: float32; uint16, the upper half of its float32 bits (bfloat16); or int8,
        which is multiplied by the scale of the node.
    bias: (C,) float32, the bias of each node.
    dense: (C, E) float32, or None.
    lengths: (R,) uint8: the number of entries of each row, minus 1; or None.
    scales: (C,) float32, if the values are int8; otherwise None.

    `Chunks(n_features, **chunks.arrays)` rebuilds an instance, also from memory-mapped arrays. The arrays are not
    copied. All numbers are checked, since a wrong index would read memory outside of the arrays.

    Raises:
        DataError: arrays do not fit each other, have wrong dtypes, or contain NaN or inf.
    """

    n_features: int
    offsets: np.ndarray
    starts: np.ndarray
    features: np.ndarray
    entries: np.ndarray
    children: np.ndarray
    values: np.ndarray
    bias: np.ndarray
    dense: np.ndarray | None = None
    lengths: np.ndarray | None = None
    scales: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            object.__setattr__(self, name, steady(array))
        check_types(self.arrays, self.n_features)
        check_numbers(self.arrays, self.n_features)

    @classmethod
    def from_weights(
        cls, weights: sp.csr_matrix, offsets: np.ndarray, *, bias: float = 1.0, dense: np.ndarray | None = None
    ) -> Chunks:
        """Creates the chunks of a level from one row of weights per node.

        Args:
            weights: (C, V + 1) CSR; the last column belongs to a constant input.
            offsets: (P + 1,) integers: the children of parent p are rows offsets[p] up to offsets[p + 1].
            bias: the value of the constant input.
            dense: (C, E), the weights of dense inputs.

        Raises:
            DataError: the matrix is damaged, has NaN or inf, or offsets do not increase from 0 to C.
        """
        weights, offsets = as_rows(weights, "weights"), np.asarray(offsets, dtype=np.int64)
        if weights.shape[1] == 0:
            raise DataError(
                "weights without a column", wanted="V + 1 columns", next_step="add the column of the bias"
            )
        check_rising(offsets, "offsets", weights.shape[0], strictly=True)
        ends, parents = weights.indptr[offsets], [0]
        # Some parents at a time, since grouping takes 80 bytes of memory per entry.
        while parents[-1] < len(offsets) - 1:
            most = int(np.searchsorted(ends, ends[parents[-1]] + _BLOCK, side="right")) - 1
            parents.append(max(most, parents[-1] + 1))
        parts = [_grouped(weights, offsets[first : last + 1]) for first, last in pairwise(parents)]
        columns = [list(column) for column in zip(*parts, strict=True)]
        del parts  # here and below, arrays are freed as soon as they are copied
        rows, features, lengths, children, values, starts = (np.concatenate(columns.pop(0)) for _ in range(6))
        entries = np.zeros(len(lengths) + 1, np.uint32 if len(values) < 1 << 32 else np.int64)
        np.cumsum(lengths, dtype=entries.dtype, out=entries[1:])
        del lengths
        return cls(
            weights.shape[1] - 1,
            offsets=offsets,
            starts=np.append(0, np.cumsum(rows)),
            features=features,
            entries=entries,
            children=children.astype(narrow_integers(int(np.diff(offsets).max())), copy=False),
            values=values,
            bias=steady(starts * bias, np.float32),
            dense=None if dense is None else steady(dense, np.float32),
        )

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """The arrays by name, for `numpy.save`; without those that are None."""
        named = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        return {name: array for name, array in named.items() if array is not None}

    @property
    def n_chunks(self) -> int:
        """P, the number of parents."""
        return len(self.offsets) - 1

    @property
    def n_ranges(self) -> int:
        """H, the number of ranges of features."""
        return number_of_ranges(self.features.dtype, self.n_features)

    @property
    def n_nodes(self) -> int:
        """C, the number of nodes."""
        return len(self.bias)

    @property
    def width(self) -> int:
        """The number of children of the largest chunk."""
        return int(np.diff(self.offsets).max(initial=0))

    def __repr__(self) -> str:
        return f"Chunks({self.n_chunks:,} > {self.n_nodes:,} nodes, {len(self.values):,} weights)"


def _grouped(weights: sp.csr_matrix, offsets: np.ndarray) -> tuple[np.ndarray, ...]:
    """The parts of chunks for parents whose children begin at `offsets`.

    Returns the number of rows of each parent; the feature and length of each row; the child and weight of each
    entry; and the weight of the constant input of each node.
    """
    weights, offsets = weights[offsets[0] : offsets[-1]], offsets - offsets[0]
    n_parents, n_features = len(offsets) - 1, weights.shape[1] - 1
    by_feature = weights[:, :n_features].tocsc()
    by_feature.eliminate_zeros()
    parents = np.repeat(np.arange(n_parents, dtype=by_feature.indices.dtype), np.diff(offsets))
    # In CSC order the children of a feature are ascending; a stable sort by parent then puts the rows in order.
    order = sp.csc_matrix(
        (np.arange(by_feature.nnz), parents[by_feature.indices], by_feature.indptr), shape=(n_parents, n_features)
    ).tocsr()
    first = np.ones(by_feature.nnz, dtype=np.bool_)
    first[1:] = order.indices[1:] != order.indices[:-1]
    first[order.indptr[:-1][np.diff(order.indptr) > 0]] = True
    rows = np.flatnonzero(first)
    nodes = by_feature.indices[order.data]
    children = nodes - offsets[parents[nodes]]
    return (
        np.diff(np.searchsorted(rows, order.indptr)),
        order.indices[rows].astype(np.int32),
        np.diff(np.append(rows, by_feature.nnz)).astype(np.int32),
        children.astype(narrow_integers(int(np.diff(offsets).max()))),
        steady(by_feature.data[order.data], np.float32),
        weights[:, [n_features]].toarray().ravel(),
    )


def narrow_integers(n: int) -> type:
    """The smallest dtype for numbers below n."""
    return np.uint8 if n <= 1 << 8 else np.uint16 if n <= 1 << 16 else np.int32
