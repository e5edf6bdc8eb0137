"""Bytes that scores of few labels per text take, by their shape; imports nothing heavy.

`candidate_scores.py`, `shortlist.py` and `row_step.py` are what is counted: a level has a table (n, D); a step
keeps of each cell the logit and its gradient, and of each block of neighboring rows what describes it.
"""

from __future__ import annotations

from collections.abc import Sequence

FLOAT = 4  # bytes of a float32
CELL = 3 * FLOAT  # logit, gradient, and the gradient times its upstream factor
BLOCK = 18 * 8  # starts, ends, cells, kept nodes; the same by rows, and the keys that are sorted


def tables(sizes: Sequence[int], dim: int, *, weight_bytes: float = FLOAT, row_bytes: float = 0.0) -> float:
    """Bytes of weights (n, D), float32 biases (n,) and what else a row has, its scale, of all levels."""
    return sum(sizes) * (weight_bytes * dim + FLOAT + row_bytes)


def adam_state(sizes: Sequence[int], dim: int, *, state_bytes: float = FLOAT) -> float:
    """Bytes of two moments of each weight and bias, and an int32 count of the steps of each row."""
    return sum(sizes) * (2 * (state_bytes * dim + FLOAT) + 4)


def adagrad_state(sizes: Sequence[int]) -> float:
    """Bytes of the accumulators of each row and of its bias."""
    return sum(sizes) * 2.0 * FLOAT


def tree(sizes: Sequence[int]) -> float:
    """Bytes of a label tree in a head: int64 offsets of each cluster, and the row of each label."""
    return 8.0 * (sum(n + 1 for n in sizes[:-1]) + sizes[-1])


def candidates(sizes: Sequence[int], beams: Sequence[int], n_texts: int) -> list[tuple[int, int]]:
    """The numbers of cells and of blocks of each level in a batch of B texts.

    Args:
        sizes: nodes per level, coarse to fine, labels last.
        beams: clusters kept per cluster level.
        n_texts: B.
    """
    found = [(n_texts * sizes[0], n_texts)]
    for above, below, beam in zip(sizes, sizes[1:], beams, strict=False):
        kept = min(beam, above)
        found.append((round(n_texts * kept * below / above), n_texts * kept))
    return found


def working(sizes: Sequence[int], beams: Sequence[int], dim: int, n_texts: int) -> float:
    """Bytes of a training step beside tables and optimizer state: cells, blocks, and the views of each level."""
    levels = candidates(sizes, beams, n_texts)
    views = 3 * FLOAT * n_texts * dim * len(sizes)  # dropped out, their gradient, and that times its factor
    return views + sum(CELL * cells + BLOCK * blocks for cells, blocks in levels)


def widened(sizes: Sequence[int], dim: int) -> float:
    """Bytes of the first level of narrow weights, which is read as float32 as a whole; no other level is."""
    return sizes[0] * dim * float(FLOAT)


def beam_working(sizes: Sequence[int], beams: Sequence[int], n_texts: int, k: int) -> float:
    """Bytes of a beam search for the k best labels."""
    cells = max(cells for cells, _ in candidates(sizes, beams, n_texts))
    return (FLOAT + 8.0) * (cells + 2 * n_texts * k)


def narrow_beam_working(sizes: Sequence[int], beams: Sequence[int], dim: int, n_texts: int, k: int) -> float:
    """The same of narrow tables: for several texts, level 0 is read as float32."""
    return beam_working(sizes, beams, n_texts, k) + FLOAT * dim * sizes[0] * (n_texts > 1)
