"""Arguments and results of the compiled search of `sparse_beam.py`: named tuples of arrays, without numba."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from megalabel.kernels.linear._chunk_checks import steady
from megalabel.kernels.linear.sparse_chunks import RANGE_BITS, Chunks
from megalabel.types import TopK

ALL_BITS = 31  # a shift of int32 features that leaves one range


class Records(NamedTuple):
    """The weights of a level as records in a hash table; see `prepacked.py`."""

    first_buckets: np.ndarray  # (P + 1,) int64, the first bucket of each chunk; (0,) where there are no records
    buckets: np.ndarray  # uint32, where the records of each bucket begin, and the end
    words: np.ndarray  # uint32, the records
    children: np.ndarray  # their memory as uint8
    weights: np.ndarray  # their memory as float32


class Level(NamedTuple):
    """The chunks of a level with C nodes; see `Chunks`."""

    offsets: np.ndarray
    starts: np.ndarray
    features: np.ndarray
    entries: np.ndarray
    lengths: np.ndarray  # (0,) where there is an entry per row
    children: np.ndarray
    weights: np.ndarray
    scales: np.ndarray  # (0,) unless weights are int8
    bias: np.ndarray
    dense: np.ndarray  # (C, E) float32, E may be 0
    ids: np.ndarray  # (C,), the id of each node in the heaps
    width: int  # the maximum number of children of a chunk
    ranges: int  # H, the number of ranges of features
    shift: int  # bits by which the number of a feature is shifted right to get its range
    records: Records

    @property
    def dtypes(self) -> tuple[np.dtype, ...]:
        """Those of the arrays."""
        return tuple(array.dtype for array in self if isinstance(array, np.ndarray))


class Queries(NamedTuple):
    """A block of n texts that are searched together."""

    indptr: np.ndarray  # (n + 1,)
    columns: np.ndarray
    values: np.ndarray
    dense: np.ndarray  # (n, E) float32
    table: np.ndarray  # (V,) scratch, zeros before and after; of length 0 if it is not used
    spread: np.ndarray  # (V,) float32, the values of the only text of the block by feature; (0,) if it is not used


class Heaps(NamedTuple):
    """The best nodes of each text, at most `room` of them."""

    keys: np.ndarray  # (n, room), log scores
    nodes: np.ndarray  # (n, room)
    sizes: np.ndarray  # (n,)


class Hidden(NamedTuple):
    """The excluded labels of text t: nodes[cuts[t] : cuts[t + 1]], ascending."""

    nodes: np.ndarray
    cuts: np.ndarray


def level_arrays(level: Chunks, ids: np.ndarray) -> Level:
    """A level as an argument of the compiled search; ids (C,).

    All arrays are made read-only, so that numba compiles once for memory-mapped and other arrays.
    """
    dense = steady(np.empty((level.n_nodes, 0)) if level.dense is None else level.dense, np.float32)
    lengths = np.empty(0, np.uint8) if level.lengths is None else level.lengths
    scales = np.empty(0, np.float32) if level.scales is None else level.scales
    return Level(
        _read_only(level.offsets),
        _read_only(level.starts),
        _read_only(level.features),
        _read_only(level.entries),
        _read_only(lengths),
        _read_only(level.children),
        _read_only(level.values),
        _read_only(scales),
        _read_only(level.bias),
        _read_only(dense),
        _read_only(steady(ids, np.int64)),
        level.width,
        level.n_ranges,
        RANGE_BITS if level.features.dtype == np.uint16 else ALL_BITS,
        records(np.empty(0, np.int64), *(np.empty(0, np.uint32) for _ in range(2))),
    )


def records(first_buckets: np.ndarray, buckets: np.ndarray, words: np.ndarray) -> Records:
    """Records as a part of an argument of the compiled search."""
    views = words, words.view(np.uint8), words.view(np.float32)
    return Records(_read_only(first_buckets), _read_only(buckets), *map(_read_only, views))


def table_of(levels: Sequence[Level], n_features: int) -> np.ndarray:
    """Scratch for the look-ups of many texts, (V,) int32 zeros; (0,) where all levels have records instead."""
    return np.zeros(0 if all(len(level.records.buckets) for level in levels) else n_features, np.int32)


def spread_of(
    indptr: np.ndarray, columns: np.ndarray, values: np.ndarray, n_features: int, long: int
) -> np.ndarray:
    """The values of a block's only text by feature, (V,) float32; (0,) if there are more texts, or it is short."""
    first, last = int(indptr[0]), int(indptr[-1])
    if len(indptr) != 2 or last - first <= long:
        return np.empty(0, np.float32)
    spread = np.zeros(n_features, np.float32)
    spread[columns[first:last]] = values[first:last]
    return spread


def walk_levels(
    descend_level: Callable[..., None],
    queries: Queries,
    levels: Sequence[Level],
    rooms: Sequence[int],
    mode: int,
    hidden: Hidden,
    best: Heaps,
) -> None:
    """What the compiled `descend` does, with one call per level, whose dtypes may differ."""
    n = len(best.sizes)
    above = Heaps(np.zeros((n, 1)), np.zeros((n, 1), np.int64), np.ones(n, np.int64))
    nothing = Hidden(np.empty(0, np.int64), np.zeros(n + 1, np.int64))
    for level, room in zip(levels[:-1], rooms, strict=False):
        below = Heaps(np.empty((n, room)), np.empty((n, room), np.int64), np.zeros(n, np.int64))
        descend_level(queries, above, level, mode, nothing, below)
        above = below
    descend_level(queries, above, levels[-1], mode, hidden, best)


def ranked(keys: np.ndarray, labels: np.ndarray, found: np.ndarray, k: int) -> TopK:
    """Converts heaps (N, room) to rows of k labels, best first."""
    room = keys.shape[1]
    empty = np.arange(room) >= found[:, None]
    keys[empty], labels[empty] = -np.inf, np.iinfo(np.int64).max
    order = np.arange(len(keys))[:, None], np.lexsort((labels, -keys), axis=1)
    best = np.full((len(keys), k), -np.inf, dtype=np.float32)
    ids = np.full((len(keys), k), -1)
    best[:, :room], ids[:, :room] = np.exp(keys[order]), labels[order]  # unused cells sort last
    if found.min(initial=room) < room:
        ids[:, :room][empty], best[:, :room][empty] = -1, -np.inf
    return TopK(ids, best)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
