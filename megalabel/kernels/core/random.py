"""Counter-based random streams: number n of a stream is a function of (seed, id, n) alone.

What is drawn depends neither on the number of threads nor on the order of the draws. The numbers are those of
SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014); compiled code
gets the same bits from `_cpu/streams.py`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15  # 2⁶⁴ / golden ratio: SplitMix64's counter step
_COLUMN_STEP = -0x61C88647  # 2³² / golden ratio, 0x9E3779B9, as int32


def mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser of uint64 values: neighboring inputs give unrelated outputs."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def stream_numbers(keys: np.ndarray, number: int) -> np.ndarray:
    """Number `number` of the stream of each key, as uint64 of 64 random bits."""
    return mix(keys + np.uint64(number_offset(number)))


def number_offset(number: int) -> int:
    """What is added to a key before it is mixed to number `number` of its stream, below 2⁶⁴."""
    return (number + 1) * _STEP & _MASK


def stream_keys(seed: int, ids: np.ndarray) -> np.ndarray:
    """One key for each id, from (seed, id): (n,) uint64."""
    return mix(np.uint64(stream_start(seed)) ^ mix(ids.astype(np.uint64) + np.uint64(_STEP)))


def stream_start(seed: int) -> int:
    """The part of `stream_keys` that depends on the seed alone, below 2⁶⁴."""
    return int(mix(np.array([seed & _MASK], dtype=np.uint64) + np.uint64(_STEP))[0])


def below(bits: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Uniform integers below n (< 2³²) from the 32 random bits in each uint64: int64."""
    return ((bits * n.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)


def row_keys(seed: int, rows: np.ndarray, number: int) -> np.ndarray:
    """One key for each row of a table, from (seed, row, number): (n,) uint64; `number` counts the draws."""
    return stream_numbers(stream_keys(seed, rows), number)


def row_bits(keys: np.ndarray, n_columns: int, device: torch.device | None = None) -> Tensor:
    """31 random bits for each column of the rows of `keys`, a function of key and column: (n, n_columns) int32.

    They are those of a counter that is mixed by the finalizer of MurmurHash3 (Appleby, public domain), whose
    products of 32 bits run in vectors; the two halves of the key enter before the first and the second product.
    Compiled code has the same bits (`rounding/_cpu/stochastic_rounding.py`).
    """
    import torch

    halves = torch.from_numpy(keys.view(np.int32).reshape(-1, 2).copy()).to(device)  # low, high
    if sys.byteorder == "big":
        halves = halves.flip(1)
    columns = torch.arange(n_columns, dtype=torch.int32, device=device)
    x = halves[:, :1] + columns * _COLUMN_STEP  # int32 products and sums wrap around
    x = (x ^ _right(x, 16)) * -0x7A143595 ^ halves[:, 1:]  # 0x85EBCA6B
    x = (x ^ _right(x, 13)) * -0x3D4D51CB  # 0xC2B2AE35
    return _right(x ^ _right(x, 16), 1)


def _right(x: Tensor, n: int) -> Tensor:
    """The bits of int32 values, n places to the right, with zeros from the left."""
    return (x >> n) & ((1 << (32 - n)) - 1)
