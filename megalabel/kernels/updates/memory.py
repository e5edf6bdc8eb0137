"""Bytes of the optimizer state that the update rules keep of each table, by its shape; imports nothing heavy."""

from __future__ import annotations

FLOAT = 4  # bytes of a float32


def sgd_state(rows: int, width: int, *, momentum: bool, parts: int = 1, state_bytes: float = FLOAT) -> float:
    """Bytes of the momentum buffer of a table (rows, width).

    Args:
        rows, width: the shape of the table.
        momentum: whether the momentum is not 0.
        parts: micro-batches per step; with several, the buffer sums their gradients even without momentum.
        state_bytes: bytes of a number of the buffer.
    """
    return state_bytes * rows * width if momentum or parts > 1 else 0.0


def adam_state(rows: int, width: int, *, parts: int = 1, state_bytes: float = FLOAT) -> float:
    """Bytes of the two moments of a table (rows, width), and of the summed gradient of several micro-batches."""
    return state_bytes * rows * width * (3 if parts > 1 else 2)


def adagrad_state(rows: int, width: int, *, parts: int = 1, state_bytes: float = FLOAT) -> float:
    """Bytes of the accumulators of a table (rows, width), and of the summed gradient of several micro-batches.

    The table includes its bias as one of the columns, which has an accumulator of its own.
    """
    return FLOAT * rows * 2 + (state_bytes * rows * width if parts > 1 else 0.0)


def compensation(rows: int, width: int) -> float:
    """Bytes of what rounding cut off narrow weights (rows, width), in bfloat16."""
    return 2.0 * rows * width
