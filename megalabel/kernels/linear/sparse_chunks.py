"""The sparse weights of one level of a label tree, siblings side by side, so that one look-up serves them all.

The children of one parent form a *chunk*. Few of their weights differ from zero, but where one child listens to a
feature, its siblings often do: they were trained on the same texts. So a chunk keeps the features that any of its
children has, in rising order, each with its (child, weight) entries; a text looks each of its features up once a
chunk and not once a child (masked sparse chunk multiplication: Etter, Zhong, Yu, Ying and Dhillon, "Accelerating
Inference for Sparse Extreme Multi-Label Ranking Trees", WWW 2022). Of up to 256 siblings an entry takes 5 bytes,
and a feature of a chunk 8.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError
from megalabel.kernels.linear._chunk_checks import check_numbers, check_rising, check_types, steady
from megalabel.kernels.sparse.sparse_rows import as_rows

_BLOCK = 1 << 22  # entries that are grouped at a time


@dataclass(frozen=True, eq=False)
class Chunks:
    """C nodes below P parents, over V sparse features and, where there is `dense`, E dense ones.

    n_features: V.
    offsets: (P + 1,) int64: the children of parent p are nodes offsets[p] up to offsets[p + 1] of this level.
    starts: (P + 1,) int64: its rows are starts[p] up to starts[p + 1].
    features: (R,) int32: the feature of each row, rising within a chunk.
    entries: (R + 1,) uint32, or int64 where that is too narrow: the entries of row r are entries[r] up to
        entries[r + 1].
    children: uint8, uint16 or int32, as the largest chunk needs: each entry's child, as its place among siblings.
    values: float32, each entry's weight.
    bias: (C,) float32, what each node's score begins with.
    dense: (C, E) float32, or None.

    The arrays are plain: `Chunks(n_features, **arrays)` takes what `arrays` gave, also memory-mapped from files,
    and looks at every number, since a wrong one would read foreign memory. They are not copied.

    Raises:
        DataError: arrays that do not fit each other, of other types, or with NaN or inf.
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

    def __post_init__(self) -> None:
        for name, array in self.arrays.items():
            object.__setattr__(self, name, steady(array))
        check_types(self.arrays, self.n_features)
        check_numbers(self.arrays, self.n_features)

    @classmethod
    def from_weights(
        cls, weights: sp.csr_matrix, offsets: np.ndarray, *, bias: float = 1.0, dense: np.ndarray | None = None
    ) -> Chunks:
        """The chunks of a level from a row of weights a node.

        Args:
            weights: (C, V + 1) CSR, its last column for an input that is `bias` for every text.
            offsets: (P + 1,) integers: the children of parent p are rows offsets[p] up to offsets[p + 1].
            bias: that input.
            dense: (C, E) weights of dense inputs.

        Raises:
            DataError: a damaged matrix, NaN or inf, offsets that do not rise from 0 to C.
        """
        weights, offsets = as_rows(weights, "weights"), np.asarray(offsets, dtype=np.int64)
        if weights.shape[1] == 0:
            raise DataError("weights without a column", wanted="V + 1 columns", next_step="add that of the bias")
        check_rising(offsets, "offsets", weights.shape[0], strictly=True)
        ends, parents = weights.indptr[offsets], [0]
        while (
            parents[-1] < len(offsets) - 1
        ):  # some parents at a time: of all at once, the work takes 80 bytes an entry
            most = int(np.searchsorted(ends, ends[parents[-1]] + _BLOCK, side="right")) - 1
            parents.append(max(most, parents[-1] + 1))
        parts = [_grouped(weights, offsets[first : last + 1]) for first, last in pairwise(parents)]
        columns = [list(column) for column in zip(*parts, strict=True)]
        del parts  # here and in the next lines: no array twice for longer than its copying takes
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
            children=children.astype(_narrow(int(np.diff(offsets).max())), copy=False),
            values=values,
            bias=steady(starts * bias, np.float32),
            dense=None if dense is None else steady(dense, np.float32),
        )

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """Every array by its name, as `numpy.save` takes them; without `dense` where there is none."""
        named = {field.name: getattr(self, field.name) for field in fields(self)[1:]}
        return {name: array for name, array in named.items() if array is not None}

    @property
    def n_chunks(self) -> int:
        """P, how many parents."""
        return len(self.offsets) - 1

    @property
    def n_nodes(self) -> int:
        """C, how many children they have together."""
        return len(self.bias)

    @property
    def width(self) -> int:
        """How many children the largest chunk has."""
        return int(np.diff(self.offsets).max(initial=0))

    def __repr__(self) -> str:
        return f"Chunks({self.n_chunks:,} > {self.n_nodes:,} nodes, {len(self.values):,} weights)"


def _grouped(weights: sp.csr_matrix, offsets: np.ndarray) -> tuple[np.ndarray, ...]:
    """Of the parents whose children begin at `offsets`: rows a parent, their features and lengths; each entry's
    child and weight; and each node's weight of the bias.
    """
    weights, offsets = weights[offsets[0] : offsets[-1]], offsets - offsets[0]
    n_parents, n_features = len(offsets) - 1, weights.shape[1] - 1
    by_feature = weights[:, :n_features].tocsc()
    by_feature.eliminate_zeros()
    parents = np.repeat(np.arange(n_parents, dtype=by_feature.indices.dtype), np.diff(offsets))
    # Read by features, children rise within a feature; sorted by parents on top of that, rows are in order.
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
        children.astype(_narrow(int(np.diff(offsets).max()))),
        steady(by_feature.data[order.data], np.float32),
        weights[:, [n_features]].toarray().ravel(),
    )


def _narrow(n: int) -> type:
    """The smallest type for numbers below n."""
    return np.uint8 if n <= 1 << 8 else np.uint16 if n <= 1 << 16 else np.int32
