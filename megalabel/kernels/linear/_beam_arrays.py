"""Arguments of the compiled search of `sparse_beam.py`: named tuples of arrays, usable without importing numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from megalabel.kernels.linear._chunk_checks import steady
from megalabel.kernels.linear.sparse_chunks import Chunks


class Level(NamedTuple):
    """The chunks of a level with C nodes; see `Chunks`."""

    offsets: np.ndarray
    starts: np.ndarray
    features: np.ndarray
    entries: np.ndarray
    children: np.ndarray
    weights: np.ndarray
    bias: np.ndarray
    dense: np.ndarray  # (C, E) float32, E may be 0
    ids: np.ndarray  # (C,), the id of each node in the heaps
    width: int  # the maximum number of children of a chunk


class Queries(NamedTuple):
    """A block of n texts that are searched together."""

    indptr: np.ndarray  # (n + 1,)
    columns: np.ndarray
    values: np.ndarray
    dense: np.ndarray  # (n, E) float32
    table: np.ndarray  # (V,) scratch, zeros before and after; of length 0 if it is not used


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
    return Level(
        _read_only(level.offsets),
        _read_only(level.starts),
        _read_only(level.features),
        _read_only(level.entries),
        _read_only(level.children),
        _read_only(level.values),
        _read_only(level.bias),
        _read_only(dense),
        _read_only(steady(ids, np.int64)),
        level.width,
    )


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
