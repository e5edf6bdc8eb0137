"""Checks of the arrays of sparse chunks, which compiled code then uses without bounds checks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from megalabel.errors import RESTORE_FOLDER, DataError, SettingError
from megalabel.kernels.sparse.sparse_rows import check_finite

RANGE_BITS = 16  # low bits in which the features of a range differ
ROWS_PER_ENTRY = 8  # rows per number in `entries` where the lengths of rows are stored
_BLOCK = 1 << 22  # numbers that are checked at a time


def number_of_ranges(kind: np.dtype, n_features: int) -> int:
    """H: 1 for int32 features, else the number of ranges of 65,536 features."""
    return max(1, -(-n_features >> RANGE_BITS)) if kind == np.uint16 else 1


def steady(array: np.ndarray, kind: type | None = None) -> np.ndarray:
    """A contiguous, read-only array, since numba compiles separate code for other layouts and memory maps."""
    with np.errstate(over="ignore"):  # values beyond float32 become inf, which the checks find
        view: np.ndarray = np.ascontiguousarray(array, dtype=kind).view()
    view.flags.writeable = False
    return view


def check_types(arrays: Mapping[str, np.ndarray], n_features: int) -> None:
    """Checks the dtypes and dimensions of the arrays of chunks, without reading their values.

    Args:
        arrays: the arrays of `Chunks` by name.
        n_features: V.

    Raises:
        DataError: an array has another dtype or number of dimensions.
        SettingError: the number of features is not an integer from 0 to 2³¹ − 1.
    """
    wanted: dict[str, tuple[type, ...]] = {
        "offsets": (np.int64,),
        "starts": (np.int64,),
        "features": (np.int32, np.uint16),
        "entries": (np.uint32, np.int64),
        "children": (np.uint8, np.uint16, np.int32),
        "lengths": (np.uint8,),
        "values": (np.float32, np.uint16, np.int8),
        "scales": (np.float32,),
        "bias": (np.float32,),
        "dense": (np.float32,),
    }
    for name, array in arrays.items():
        if array.dtype not in wanted[name] or array.ndim != 1 + (name == "dense"):
            raise _damaged(
                f"an array of {array.dtype} with {array.ndim} dimensions",
                " or ".join(np.dtype(kind).name for kind in wanted[name]),
                name,
            )
    if not isinstance(n_features, int) or not 0 <= n_features < 1 << 31:
        raise SettingError(
            f"{n_features} features",
            wanted="a whole number from 0 to 2³¹ − 1",
            next_step="use a smaller vocabulary",
            where="n_features",
        )


def check_numbers(arrays: Mapping[str, np.ndarray], n_features: int) -> None:
    """Raises DataError unless all indices are in range and all values finite; arguments as in `check_types`."""
    offsets, starts, features, entries = (arrays[name] for name in ("offsets", "starts", "features", "entries"))
    children, n_nodes = arrays["children"], len(arrays["bias"])
    n_ranges, lengths = number_of_ranges(features.dtype, n_features), arrays.get("lengths")
    check_rising(offsets, "offsets", n_nodes, strictly=True)
    check_rising(starts, "starts", len(features))
    check_rising(entries, "entries", len(children))
    if (len(offsets) - 1) * n_ranges + 1 != len(starts) or len(arrays["values"]) != len(children):
        raise _damaged(
            "arrays of wrong lengths", "one start per chunk and one child per weight", "starts, children"
        )
    _check_features(features, starts, n_features, n_ranges)
    if lengths is not None:
        _check_lengths(lengths, entries, len(features))
    elif len(entries) != len(features) + 1:
        raise _damaged(f"{len(entries)} ends of entries", f"{len(features) + 1}, one per row", "entries")
    cuts = entry_starts(entries, lengths, starts[::n_ranges])
    full = np.flatnonzero(np.diff(cuts))  # their starts are the limits of reduceat
    if len(full):
        most = np.maximum.reduceat(children, cuts[full])
        if children.min() < 0 or (most >= np.diff(offsets)[full]).any():
            raise _damaged("a child that its chunk does not have", "a position among siblings", "children")
    _check_values(arrays["values"], arrays.get("scales"), n_nodes)
    check_finite(arrays["bias"], "bias")
    if "dense" in arrays:
        if len(arrays["dense"]) != n_nodes:
            raise _damaged(f"dense weights of {len(arrays['dense'])} nodes", f"{n_nodes}", "dense")
        check_modest(arrays["dense"], "dense")


def entry_starts(entries: np.ndarray, lengths: np.ndarray | None, rows: np.ndarray) -> np.ndarray:
    """Where the entries of some rows begin, (n,) int64; a row after the last one begins at the end."""
    found: np.ndarray
    if lengths is None:
        found = entries[rows].astype(np.int64)
        return found
    inside = rows % ROWS_PER_ENTRY
    found = entries[-(-rows // ROWS_PER_ENTRY)].astype(np.int64)
    at = np.flatnonzero(inside)  # rows that do not begin a group
    found[at] = entries[rows[at] // ROWS_PER_ENTRY]
    for i in range(1, ROWS_PER_ENTRY):
        more = at[inside[at] >= i]
        found[more] += lengths[rows[more] - i].astype(np.int64) + 1
    return found


def _check_features(features: np.ndarray, starts: np.ndarray, n_features: int, n_ranges: int) -> None:
    if not len(features):
        return
    falls = np.flatnonzero(features[1:] <= features[:-1]) + 1
    last = starts[n_ranges::n_ranges]  # the end of the last range of each chunk
    largest = features[last[np.diff(starts)[n_ranges - 1 :: n_ranges] > 0] - 1]
    bound = n_features - (n_ranges - 1 << RANGE_BITS)
    if features.min() < 0 or largest.max(initial=0) >= bound or len(np.setdiff1d(falls, starts)):
        raise _damaged("a feature out of order", f"0 to {n_features - 1}, ascending", "features")


def _check_lengths(lengths: np.ndarray, entries: np.ndarray, n_rows: int) -> None:
    """Checks that rows begin where the numbers in `entries` say."""
    firsts = np.arange(0, n_rows, ROWS_PER_ENTRY)
    fine = len(lengths) == n_rows and len(entries) == len(firsts) + 1
    if fine and n_rows:
        sizes = np.add.reduceat(lengths, firsts, dtype=np.int64)
        sizes += np.minimum(n_rows - firsts, ROWS_PER_ENTRY)
        fine = bool((sizes == np.diff(entries.astype(np.int64))).all())
    if not fine:
        raise _damaged("lengths of rows that do not fit", "one per row, that add up to `entries`", "lengths")


def _check_values(values: np.ndarray, scales: np.ndarray | None, n_nodes: int) -> None:
    if (scales is not None) != (values.dtype == np.int8) or (scales is not None and len(scales) != n_nodes):
        raise _damaged("scales that do not fit", f"{n_nodes} of them with int8 values, else none", "scales")
    if scales is not None:
        check_finite(scales, "scales")
    elif values.dtype == np.float32:
        check_finite(values, "values")
    elif any(((values[i : i + _BLOCK] & 0x7F80) == 0x7F80).any() for i in range(0, len(values), _BLOCK)):
        raise _damaged("NaN or inf", "finite weights", "values")


def check_modest(values: np.ndarray, where: str) -> None:
    """Raises DataError unless values are finite and small enough for a sum of a million products in float32."""
    check_finite(values, where)
    largest = max(-values.min(initial=0), values.max(initial=0))
    if largest > 1e15:
        raise _damaged(f"a value of {largest}", "at most 1e15", where)


def check_rising(array: np.ndarray, where: str, end: int, *, strictly: bool = False) -> None:
    """Raises DataError unless the array is nondecreasing from 0 to `end`."""
    fine = array.ndim == 1 and len(array) > 0 and array[0] == 0 and array[-1] == end
    if not fine or (array[1:] < array[:-1] + int(strictly)).any():
        what = "every parent with a child" if strictly else "nondecreasing"
        raise _damaged("numbers out of order", f"numbers from 0 to {end}, {what}", where)


def _damaged(found: str, wanted: str, where: str) -> DataError:
    return DataError(found, wanted=wanted, next_step=RESTORE_FOLDER, where=where)
