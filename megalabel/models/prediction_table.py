"""Predictions as columns of a table in Arrow's memory format, which Parquet files, Ray and Spark take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

COLUMNS = ("label_ids", "labels", "scores")
URIS = "uris"  # a further column, for labels that have some


def label_columns(
    names: Sequence[str],
    ids: np.ndarray,
    scores: np.ndarray,
    missing: np.ndarray | None = None,
    *,
    more: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Any]:
    """The labels of N texts, best first, as three columns of lists, and further ones.

    Args:
        names: the names of the L labels.
        ids: (N, k) integers; -1 for no label, which is left out.
        scores: (N, k) float32.
        missing: (N,) bool, the rows without a text, whose lists are null; None if there are none.
        more: by the name of a further column, a text for each of the L labels.

    Returns:
        By `COLUMNS`: arrays of list<int64>, list<string> and list<float32>, all of length N; by the names in
        `more` arrays of list<string>.
    """
    there = ids >= 0
    flat = ids[there]
    offsets = np.zeros(len(ids) + 1, np.int32)
    np.cumsum(there.sum(axis=1), out=offsets[1:])
    different, places = np.unique(flat, return_inverse=True)
    at = pa.array(places.reshape(-1))

    def texts(values: Sequence[str]) -> Any:
        return pa.array([storable(values[int(i)]) for i in different], pa.string()).take(at)

    mask = None if missing is None or not missing.any() else pa.array(missing)
    columns = (pa.array(flat, pa.int64()), texts(names), pa.array(scores[there], pa.float32()))
    further = {name: texts(values) for name, values in (more or {}).items()}
    return {
        name: pa.ListArray.from_arrays(pa.array(offsets), values, mask=mask)
        for name, values in (dict(zip(COLUMNS, columns, strict=True)) | further).items()
    }


def storable(text: str) -> str:
    """The text as UTF-8 can hold it: half of a surrogate pair becomes the escape that JSON has for it."""
    return text.encode("utf-8", "backslashreplace").decode()
