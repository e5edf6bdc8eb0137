"""Arguments of the compiled search: named tuples of arrays, usable without importing numba."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Level(NamedTuple):
    """The rows of a level of a search, in groups of sixteen; G groups, W = ⌈D / 4⌉, C chunks. See `groups.py`."""

    starts: np.ndarray  # (C + 1,) int64: groups starts[c] to starts[c + 1] − 1 are those of chunk c
    codes: np.ndarray  # (G, W, 64) int8
    sums: np.ndarray  # (G, 16) int32: −128 · Σ c of each row, since texts are stored as bytes from 1 to 255
    facts: np.ndarray  # (G, 4, 16) float32: scale, bias, spread and size of each row
    ids: np.ndarray  # (16 · G,) int32: what a row stands for, a chunk of the next level or a label; −1 for none


class Queries(NamedTuple):
    """A block of n texts."""

    words: np.ndarray  # (n, W) int32: four bytes q + 128 each
    traits: np.ndarray  # (n, 3) float32: scale, ‖x‖ and ‖x − x̂‖


class Heaps(NamedTuple):
    """The best rows of each text, at most `room` of them, the last in rank first."""

    keys: np.ndarray  # (n, room) float32
    rows: np.ndarray  # (n, room) int64, their ids
    sizes: np.ndarray  # (n,) int64
