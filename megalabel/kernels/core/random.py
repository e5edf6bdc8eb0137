"""Counter-based random streams: number n of a stream is a function of (seed, id, n) alone.

What is drawn depends neither on the number of threads nor on the order of the draws. The numbers are those of
SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014); compiled code
gets the same bits from `_cpu/streams.py`.
"""

from __future__ import annotations

import numpy as np

_MASK = (1 << 64) - 1
_STEP = 0x9E3779B97F4A7C15  # 2⁶⁴ / golden ratio: SplitMix64's counter step


def mix(values: np.ndarray) -> np.ndarray:
    """SplitMix64's finaliser of uint64 values: neighboring inputs give unrelated outputs."""
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def stream_numbers(keys: np.ndarray, number: int) -> np.ndarray:
    """Number `number` of the stream of each key, as uint64 of 64 random bits."""
    return mix(keys + np.uint64((number + 1) * _STEP & _MASK))


def stream_keys(seed: int, ids: np.ndarray) -> np.ndarray:
    """One key for each id, from (seed, id): (n,) uint64."""
    start = mix(np.array([seed & _MASK], dtype=np.uint64) + np.uint64(_STEP))
    return mix(start ^ mix(ids.astype(np.uint64) + np.uint64(_STEP)))


def below(bits: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Uniform integers below n (< 2³²) from the 32 random bits in each uint64: int64."""
    return ((bits * n.astype(np.uint64)) >> np.uint64(32)).astype(np.int64)
