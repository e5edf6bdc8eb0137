"""The random numbers of `core/random.py` for compiled code: the same bits for the same keys."""

import numpy as np

from megalabel.kernels.core._cpu.compiling import helper

_STEP = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


@helper
def _mix(bits):
    """`label_walks.mix`."""
    bits = (bits ^ (bits >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return bits ^ (bits >> np.uint64(31))


@helper
def stream_key(seed, number):
    """`random.stream_keys` of one number."""
    return _mix(_mix(seed + _STEP) ^ _mix(np.uint64(number) + _STEP))


@helper
def stream_number(key, number):
    """`random.stream_numbers` of one key."""
    return _mix(key + np.uint64(number + 1) * _STEP)


@helper
def below(bits, n):
    """`random.below`: from 0 to n − 1, by 32 random bits."""
    return np.int64((bits * np.uint64(n)) >> _HALF)


@helper
def row_key(seed, row, number):
    """`random.row_keys` of one row."""
    return stream_number(stream_key(seed, row), number)
