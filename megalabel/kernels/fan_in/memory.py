"""Bytes that a layer with few inputs per label takes, by its shape; imports nothing heavy.

`layer.py` and `_cpu/fixed_fan_in.py` are what is counted: weights (L, F), biases (L,), inputs (L / G, F), and for
each thread a sum of the gradient of the embedding in blocks of texts.
"""

from __future__ import annotations

FLOAT = 4  # bytes of a float32
WIDE, NARROW = 64, 16  # texts of a block, as in `_cpu/arrays.py`
CONNECTIONS = 1 << 14  # of a chunk


def input_bytes(dim: int) -> int:
    """Bytes of an index into an embedding of width `dim`, as `connections.input_dtype` chooses it."""
    return 1 if dim <= 256 else 2 if dim <= 32768 else 4


def weights(n_labels: int, fan_in: int, *, weight_bytes: float = FLOAT, row_bytes: float = 0.0) -> float:
    """Bytes of the weights (L, F), of the float32 biases (L,) and of what else a label has, its scale."""
    return n_labels * (weight_bytes * fan_in + FLOAT + row_bytes)


def inputs(n_labels: int, fan_in: int, dim: int, group: int = 1) -> float:
    """Bytes of the inputs, (groups, F)."""
    return -(-n_labels // group) * fan_in * input_bytes(dim)


def working(fan_in: int, dim: int, n_texts: int, threads: int, group: int = 1, narrow: int = 0) -> float:
    """Bytes of a training step beside weights and optimizer state.

    narrow: how many of weights and momentum are stored in a narrow type, and read as float32 a chunk at a time.
    """
    rest = 0 < n_texts % WIDE <= NARROW  # texts of a last, small block
    padded = WIDE * (-(-n_texts // WIDE) - rest) + NARROW * rest
    near = 2 * fan_in * WIDE if group > 1 else 0
    return FLOAT * ((2 + threads) * padded * dim + threads * ((1 + narrow) * CONNECTIONS + 5 * fan_in + near))


def rewiring(n_labels: int, fan_in: int, group: int = 1) -> float:
    """Bytes of a replacement of connections: which slots change, one byte each, and the sizes of the weights."""
    slots = -(-n_labels // group) * fan_in
    return slots * (1 + FLOAT)


def topk_working(dim: int, n_texts: int, k: int, threads: int) -> float:
    """Bytes of a search for the k best labels."""
    labels = max(128, (2 << 20) // (FLOAT * (3 * dim + n_texts)))
    return threads * (FLOAT * n_texts * (labels + dim) + 2 * (FLOAT + 8) * n_texts * k)
