"""Checks of the arrays of sparse chunks, which compiled code then uses without bounds checks."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from megalabel.errors import RESTORE_FOLDER, DataError, SettingError
from megalabel.kernels.sparse.sparse_rows import check_finite


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
        "features": (np.int32,),
        "entries": (np.uint32, np.int64),
        "children": (np.uint8, np.uint16, np.int32),
        "values": (np.float32,),
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
    check_rising(offsets, "offsets", n_nodes, strictly=True)
    check_rising(starts, "starts", len(features))
    check_rising(entries, "entries", len(children))
    if len(offsets) != len(starts) or len(arrays["values"]) != len(children):
        raise _damaged(
            "arrays of wrong lengths", "one start per chunk and one child per weight", "starts, children"
        )
    if len(features):
        falls = np.flatnonzero(features[1:] <= features[:-1]) + 1
        if features.min() < 0 or features.max() >= n_features or len(np.setdiff1d(falls, starts)):
            raise _damaged("a feature out of order", f"0 to {n_features - 1}, ascending", "features")
    cuts = entries[starts].astype(np.int64)
    full = np.flatnonzero(np.diff(cuts))  # their starts are the limits of reduceat
    if len(full):
        most = np.maximum.reduceat(children, cuts[full])
        if children.min() < 0 or (most >= np.diff(offsets)[full]).any():
            raise _damaged("a child that its chunk does not have", "a position among siblings", "children")
    for name in ("values", "bias"):
        check_finite(arrays[name], name)
    if "dense" in arrays:
        if len(arrays["dense"]) != n_nodes:
            raise _damaged(f"dense weights of {len(arrays['dense'])} nodes", f"{n_nodes}", "dense")
        check_modest(arrays["dense"], "dense")


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
