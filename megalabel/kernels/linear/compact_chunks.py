"""Makes sparse chunks smaller: the positions of weights without a loss, the weights by rounding them.

    features   int32 to uint16 within ranges of 65,536 features: 2 bytes instead of 4 per row
    entries    one number per eight rows, and the length of each row in a byte: 1.5 bytes instead of 4 per row
    values     float32; bfloat16, the nearest, ties to even: 2 bytes instead of 4; or int8, the nearest multiple of
               max |w| / 127 of the node: 1 byte, and 4 per node

`sparse_beam.py` reads the result directly. With float32 weights it answers with the same bits as before.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Literal, get_args

import numpy as np

from megalabel.errors import SettingError
from megalabel.kernels.linear._chunk_checks import RANGE_BITS, ROWS_PER_ENTRY, entry_starts, number_of_ranges
from megalabel.kernels.linear.sparse_chunks import Chunks

StoredWeights = Literal["float32", "bfloat16", "int8"]

LONGEST_ROW = 256  # entries of a row whose length fits into a byte
_LARGEST = 127
_BLOCK = 1 << 22  # numbers that are converted at a time


def compact(chunks: Chunks, weights: StoredWeights = "float32", *, short_features: bool | None = None) -> Chunks:
    """The chunks in less memory.

    Args:
        chunks: any chunks with float32 values.
        weights: the type of the weights of features. Biases and dense weights stay float32.
        short_features: whether features become uint16; None to decide by `short_features_pay`.

    Raises:
        SettingError: an unknown type, or the values are not float32.
    """
    if weights not in get_args(StoredWeights) or chunks.values.dtype != np.float32:
        raise SettingError(
            f"weights={weights!r} for chunks of {chunks.values.dtype}",
            wanted=" or ".join(get_args(StoredWeights)) + ", for chunks of float32",
            next_step="train with one of them",
            where="weights",
        )
    changes = _short_entries(chunks)
    if short_features_pay(chunks) if short_features is None else short_features:
        changes |= _short_features(chunks)
    if weights == "bfloat16":
        changes["values"] = _to_bfloat16(chunks.values)
    elif weights == "int8":
        changes["values"], changes["scales"] = _to_int8(chunks)
    return Chunks(chunks.n_features, **{**chunks.arrays, **changes})


def weight_counts(chunks: Chunks) -> np.ndarray:
    """The number of weights of features in each chunk, (P,) int64."""
    found: np.ndarray = np.diff(entry_starts(chunks.entries, chunks.lengths, chunks.starts[:: chunks.n_ranges]))
    return found


def float32_values(chunks: Chunks) -> np.ndarray:
    """The weight of each entry of any chunks, (n,) float32: what the search multiplies with."""
    values = widened(chunks.values)
    return values if chunks.scales is None else values * chunks.scales[_nodes(chunks, 0, chunks.n_chunks)]


def widened(values: np.ndarray) -> np.ndarray:
    """Stored weights, those of bfloat16, which are uint16, as float32."""
    return (values.astype(np.uint32) << 16).view(np.float32) if values.dtype == np.uint16 else values


def stored_type(chunks: Chunks) -> StoredWeights:
    """The type in which `compact` has stored the weights of chunks."""
    types: dict[str, StoredWeights] = {"float32": "float32", "uint16": "bfloat16", "int8": "int8"}
    return types[chunks.values.dtype.name]


def short_features_pay(chunks: Chunks) -> bool:
    """Whether uint16 features save more memory than the starts of all ranges take."""
    n_ranges = number_of_ranges(np.dtype(np.uint16), chunks.n_features)
    costs, saves = chunks.starts.itemsize * chunks.n_chunks * (n_ranges - 1), 2 * len(chunks.features)
    return chunks.features.dtype == np.int32 and costs <= saves


def _short_features(chunks: Chunks) -> dict[str, np.ndarray]:
    """Starts and uint16 features of chunks with int32 features."""
    n_ranges = number_of_ranges(np.dtype(np.uint16), chunks.n_features)
    limits = np.arange(n_ranges) << RANGE_BITS
    starts = np.zeros(chunks.n_chunks * n_ranges + 1, np.int64)
    for p, (first, last) in enumerate(pairwise(chunks.starts.tolist())):
        places = first + np.searchsorted(chunks.features[first:last], limits[1:])
        starts[p * n_ranges + 1 : (p + 1) * n_ranges] = places
        starts[(p + 1) * n_ranges] = last
    return {"starts": starts, "features": chunks.features.astype(np.uint16)}  # keeps the lowest 16 bits


def _short_entries(chunks: Chunks) -> dict[str, np.ndarray]:
    """Entries and the lengths of rows in one byte, if each row has 1 to 256 entries."""
    n_rows = len(chunks.features)
    if chunks.lengths is not None or n_rows == 0:
        return {}
    lengths = np.empty(n_rows, np.uint8)
    for start in range(0, n_rows, _BLOCK):
        own = np.diff(chunks.entries[start : min(start + _BLOCK, n_rows) + 1])
        if own.min() < 1 or own.max() > LONGEST_ROW:
            return {}
        lengths[start : start + len(own)] = own - 1
    entries = np.append(chunks.entries[:-1:ROWS_PER_ENTRY], chunks.entries[-1])
    return {"entries": entries, "lengths": lengths}


def _to_bfloat16(values: np.ndarray) -> np.ndarray:
    """The upper halves of the bits of the nearest bfloat16 numbers, ties to even: uint16."""
    rounded = np.empty(len(values), np.uint16)
    for start in range(0, len(values), _BLOCK):
        bits = values[start : start + _BLOCK].view(np.uint32)
        largest = np.uint32(0x7F7F)  # numbers that would round to inf become the largest one
        upper = (bits + (np.uint32(0x7FFF) + ((bits >> 16) & np.uint32(1)))) >> 16
        rounded[start : start + _BLOCK] = np.minimum(upper & np.uint32(0x7FFF), largest) | (
            (bits >> 16) & np.uint32(0x8000)
        )
    return rounded


def _to_int8(chunks: Chunks) -> tuple[np.ndarray, np.ndarray]:
    """Values (n,) int8 and the scales of the nodes (C,)."""
    scales, values = np.zeros(chunks.n_nodes, np.float32), np.empty(len(chunks.values), np.int8)
    cuts = entry_starts(chunks.entries, chunks.lengths, chunks.starts[:: chunks.n_ranges])
    first = 0
    while first < chunks.n_chunks:  # some chunks at a time
        last = max(first + 1, int(np.searchsorted(cuts, cuts[first] + _BLOCK, side="right")) - 1)
        part, nodes = slice(cuts[first], cuts[last]), _nodes(chunks, first, last)
        own = chunks.values[part]
        np.maximum.at(scales, nodes, np.abs(own))
        values[part] = np.rint(own / np.maximum(scales[nodes] / np.float32(_LARGEST), np.finfo(np.float32).tiny))
        first = last
    return values, scales / np.float32(_LARGEST)


def _nodes(chunks: Chunks, first: int, last: int) -> np.ndarray:
    """The node of each entry of chunks first … last − 1, (n,) int64."""
    cuts = entry_starts(chunks.entries, chunks.lengths, chunks.starts[:: chunks.n_ranges][first : last + 1])
    found: np.ndarray = np.repeat(chunks.offsets[first:last], np.diff(cuts))
    found += chunks.children[cuts[0] : cuts[-1]]
    return found
