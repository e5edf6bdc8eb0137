"""What the arrays of sparse chunks must be, so that compiled code may follow them without looking."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from megalabel.errors import RESTORE_FOLDER, DataError, SettingError
from megalabel.kernels.sparse.sparse_rows import check_finite

if TYPE_CHECKING:
    from megalabel.kernels.linear.sparse_chunks import Chunks


def steady(array: np.ndarray, kind: type | None = None) -> np.ndarray:
    """Plain, contiguous, read-only and of one type: numba compiles anew for what differs, memory maps included."""
    with np.errstate(over="ignore"):  # what float32 does not hold is inf, and found
        view: np.ndarray = np.ascontiguousarray(array, dtype=kind).view()
    view.flags.writeable = False
    return view


def check_levels(levels: Sequence[Chunks], order: np.ndarray, beams: Sequence[int]) -> None:
    """Raises SettingError unless the levels form one tree, with its labels in `order` and a beam a level."""
    fine = len(levels) > 0 and levels[0].n_chunks == 1 and len({level.n_features for level in levels}) == 1
    if not fine or any(below.n_chunks != above.n_nodes for above, below in pairwise(levels)):
        raise SettingError(
            f"levels {list(levels)}",
            wanted="one chunk on top, then one for each node of the level above, all over the same features",
            next_step="make every level with the offsets of one label tree",
            where="levels",
        )
    if len({level.dense.shape[1] for level in levels if level.dense is not None}) > 1:
        raise SettingError(
            "levels with dense weights of several widths",
            wanted="one",
            next_step="train all levels on the same embeddings",
            where="levels",
        )
    n = levels[-1].n_nodes
    if order.shape != (n,) or order.dtype.kind not in "iu" or not np.array_equal(np.sort(order), np.arange(n)):
        raise SettingError(
            f"an order of shape {order.shape} and type {order.dtype}",
            wanted=f"each label from 0 to {n - 1} once",
            next_step="take the order of the label tree that the levels were made with",
            where="order",
        )
    if len(beams) != len(levels) - 1 or any(beam < 1 for beam in beams):
        raise SettingError(
            f"beams {list(beams)}",
            wanted=f"{len(levels) - 1} numbers, one for each level of clusters, 1 or more",
            next_step="name how many clusters of each level are kept",
            where="beams",
        )


def check_types(chunks: Chunks) -> None:
    """Raises DataError unless every array has its type and number of dimensions."""
    wanted: dict[str, tuple[type, ...]] = {
        "offsets": (np.int64,),
        "starts": (np.int64,),
        "features": (np.int32,),
        "entries": (np.uint32, np.int64),
        "children": (np.uint8, np.uint16, np.int32),
        "values": (np.float32,),
        "bias": (np.float32,),
        "dense": (np.float32,),
    }
    for name, array in chunks.arrays.items():
        if array.dtype not in wanted[name] or array.ndim != 1 + (name == "dense"):
            raise _damaged(
                f"an array of {array.dtype} with {array.ndim} dimensions",
                " or ".join(np.dtype(kind).name for kind in wanted[name]),
                name,
            )
    if not isinstance(chunks.n_features, int) or not 0 <= chunks.n_features < 1 << 31:
        raise SettingError(
            f"{chunks.n_features} features",
            wanted="a whole number from 0 to 2³¹ − 1",
            next_step="learn a smaller vocabulary",
            where="n_features",
        )


def check_numbers(chunks: Chunks) -> None:
    """Raises DataError unless every number is one that the body may follow."""
    offsets, starts, features, entries = chunks.offsets, chunks.starts, chunks.features, chunks.entries
    check_rising(offsets, "offsets", chunks.n_nodes, strictly=True)
    check_rising(starts, "starts", len(features))
    check_rising(entries, "entries", len(chunks.children))
    if len(offsets) != len(starts) or len(chunks.values) != len(chunks.children):
        raise _damaged("arrays of other lengths", "one start a chunk and one child a weight", "starts, children")
    if len(features):
        falls = np.flatnonzero(features[1:] <= features[:-1]) + 1
        if features.min() < 0 or features.max() >= chunks.n_features or len(np.setdiff1d(falls, starts)):
            raise _damaged("a feature out of order", f"0 to {chunks.n_features - 1}, rising", "features")
    cuts = entries[starts].astype(np.int64)
    full = np.flatnonzero(np.diff(cuts))  # between the starts of neighbouring full chunks lies just the first
    if len(full):
        most = np.maximum.reduceat(chunks.children, cuts[full])
        if chunks.children.min() < 0 or (most >= np.diff(offsets)[full]).any():
            raise _damaged("a child that its chunk does not have", "a place among siblings", "children")
    if chunks.dense is not None and len(chunks.dense) != chunks.n_nodes:
        raise _damaged(f"dense weights of {len(chunks.dense)} nodes", f"{chunks.n_nodes}", "dense")
    for name in ("values", "bias"):
        check_finite(chunks.arrays[name], name)
    if chunks.dense is not None:
        check_modest(chunks.dense, "dense")


def check_modest(values: np.ndarray, where: str) -> None:
    """Raises DataError unless the values are finite and float32 holds a sum of a million products of them."""
    check_finite(values, where)
    largest = max(-values.min(initial=0), values.max(initial=0))
    if largest > 1e15:
        raise _damaged(f"a value of {largest}", "1e15 at most", where)


def check_rising(array: np.ndarray, where: str, end: int, *, strictly: bool = False) -> None:
    """Raises DataError unless the array rises from 0 to `end`."""
    fine = array.ndim == 1 and len(array) > 0 and array[0] == 0 and array[-1] == end
    if not fine or (array[1:] < array[:-1] + int(strictly)).any():
        what = "every parent with a child" if strictly else "never falling"
        raise _damaged("numbers that do not rise", f"0 up to {end}, {what}", where)


def _damaged(found: str, wanted: str, where: str) -> DataError:
    return DataError(found, wanted=wanted, next_step=RESTORE_FOLDER, where=where)
