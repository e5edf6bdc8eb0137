"""The random bits of `core/random.py` for Triton: the same bits for the same keys.

The start of a stream and the offset of a number, 64 bits each (`random.stream_start`, `random.number_offset`), are
passed as two int32 halves, whose type Triton does not choose by their value.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def _whole(low, high):
    """The uint64 of two int32 halves."""
    upper = high.to(tl.uint32, bitcast=True).to(tl.uint64) << 32
    return upper | low.to(tl.uint32, bitcast=True).to(tl.uint64)


@triton.jit
def _mix(bits):
    """`random.mix`."""
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB
    return bits ^ (bits >> 31)


@triton.jit
def row_key(row, start_low, start_high, number_low, number_high):
    """`random.row_keys` of int64 rows: uint64."""
    start, number = _whole(start_low, start_high), _whole(number_low, number_high)
    return _mix(_mix(start ^ _mix(row.to(tl.uint64) + 0x9E3779B97F4A7C15)) + number)


@triton.jit
def row_bits(key, column):
    """`random.row_bits`: 31 random bits for keys (n, 1) and int32 columns (1, n_columns), as uint32."""
    low, high = key.to(tl.uint32), (key >> 32).to(tl.uint32)
    x = low + column.to(tl.uint32) * 0x9E3779B9
    x = ((x ^ (x >> 16)) * 0x85EBCA6B) ^ high
    x = (x ^ (x >> 13)) * 0xC2B2AE35
    return (x ^ (x >> 16)) >> 1
