"""Reads the weights of some nodes out of sparse chunks, whatever the types in which they are stored."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.linear.sparse_chunks import RANGE_BITS, ROWS_PER_ENTRY, Chunks


def weights_of(level: Chunks, chunks: np.ndarray, nodes: np.ndarray) -> sp.csr_matrix:
    """The weights of some nodes of a level, in some chunks, with their biases: (n, V + 1) float32 CSR."""
    place = np.full(level.n_nodes, -1, np.int64)
    place[nodes] = np.arange(len(nodes))
    rows, columns = [np.arange(len(nodes))], [np.full(len(nodes), level.n_features)]
    values = [level.bias[nodes]]
    wide = level.n_ranges
    for chunk in chunks.tolist():
        starts = level.starts[chunk * wide : (chunk + 1) * wide + 1].astype(np.int64)
        first, last = int(starts[0]), int(starts[-1])
        if first == last:
            continue
        ranges = np.repeat(np.arange(wide, dtype=np.int64), np.diff(starts))
        features = level.features[first:last].astype(np.int64) + (ranges << RANGE_BITS)
        begin, lengths = _entries(level, first, last)
        entries = slice(begin, begin + int(lengths.sum()))
        of_nodes = level.offsets[chunk] + level.children[entries].astype(np.int64)
        inside = place[of_nodes] >= 0
        rows.append(place[of_nodes[inside]])
        columns.append(np.repeat(features, lengths)[inside])
        values.append(_float32(level, entries, of_nodes)[inside])
    parts = [np.concatenate(part) for part in (values, rows, columns)]
    found = sp.csr_matrix(
        (parts[0], (parts[1], parts[2])), shape=(len(nodes), level.n_features + 1), dtype=np.float32
    )
    found.sort_indices()
    return found


def _entries(level: Chunks, first: int, last: int) -> tuple[int, np.ndarray]:
    """Where the entries of the rows from `first` to below `last` begin, and the number of entries of each row."""
    if level.lengths is None:
        return int(level.entries[first]), np.diff(level.entries[first : last + 1].astype(np.int64))
    before = first // ROWS_PER_ENTRY * ROWS_PER_ENTRY
    lengths = level.lengths[before:last].astype(np.int64) + 1
    begin = int(level.entries[first // ROWS_PER_ENTRY]) + int(lengths[: first - before].sum())
    return begin, lengths[first - before :]


def _float32(level: Chunks, entries: slice, nodes: np.ndarray) -> np.ndarray:
    """The weights of some entries, which belong to these nodes."""
    values = level.values[entries]
    if values.dtype == np.uint16:
        return (values.astype(np.uint32) << 16).view(np.float32)
    return values if level.scales is None else values * level.scales[nodes]
