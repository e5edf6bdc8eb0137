"""Reads the weights of some nodes out of sparse chunks, whatever the types in which they are stored."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.linear._chunk_checks import RANGE_BITS, entry_starts
from megalabel.kernels.linear.compact_chunks import widened
from megalabel.kernels.linear.sparse_chunks import Chunks


def weights_of(level: Chunks, chunks: np.ndarray, nodes: np.ndarray) -> sp.csr_matrix:
    """The weights of some nodes of a level, in some chunks, with their biases: (n, V + 1) float32 CSR."""
    place = np.full(level.n_nodes, -1, np.int64)
    place[nodes] = np.arange(len(nodes))
    rows, columns = [np.arange(len(nodes))], [np.full(len(nodes), level.n_features)]
    values = [level.bias[nodes]]
    wide = level.n_ranges
    begins = entry_starts(level.entries, level.lengths, level.starts[chunks * wide])
    for chunk, begin in zip(chunks.tolist(), begins.tolist(), strict=True):
        starts = level.starts[chunk * wide : (chunk + 1) * wide + 1].astype(np.int64)
        first, last = int(starts[0]), int(starts[-1])
        if first == last:
            continue
        ranges = np.repeat(np.arange(wide, dtype=np.int64), np.diff(starts))
        features = level.features[first:last].astype(np.int64) + (ranges << RANGE_BITS)
        lengths = _lengths(level, first, last)
        entries = slice(begin, begin + int(lengths.sum()))
        of_nodes = level.offsets[chunk] + level.children[entries].astype(np.int64)
        inside = place[of_nodes] >= 0
        rows.append(place[of_nodes[inside]])
        columns.append(np.repeat(features, lengths)[inside])
        values.append(weights_at(level, entries, of_nodes)[inside])
    parts = [np.concatenate(part) for part in (values, rows, columns)]
    found = sp.csr_matrix(
        (parts[0], (parts[1], parts[2])), shape=(len(nodes), level.n_features + 1), dtype=np.float32
    )
    found.sort_indices()
    return found


def weights_at(level: Chunks, entries: slice | np.ndarray, nodes: np.ndarray) -> np.ndarray:
    """The weights of some entries, which belong to these nodes: (n,) float32."""
    values = widened(level.values[entries])
    return values if level.scales is None else values * level.scales[nodes]


def _lengths(level: Chunks, first: int, last: int) -> np.ndarray:
    """The number of entries of each row from `first` to below `last`, int64."""
    if level.lengths is None:
        return np.diff(level.entries[first : last + 1].astype(np.int64))
    return level.lengths[first:last].astype(np.int64) + 1
