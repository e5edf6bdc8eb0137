"""Bytes that the loss over every label takes, by its shape; imports nothing heavy.

`label_pass.py` is what is counted: weights (L, D), and for each thread the logits of one chunk of labels, the
gradient of the chunk's weights, and a sum of the gradient of the embedding (B, D).
"""

from __future__ import annotations

FLOAT = 4  # bytes of a float32
CACHE_BYTES = 2 << 20  # of a chunk, as `label_pass.chunk_bytes` on a CPU
SMALLEST = 128  # labels of a chunk, at least


def weights(n_labels: int, dim: int, *, bias: bool = False, weight_bytes: float = FLOAT) -> float:
    """Bytes of the weights (L, D), of the float32 biases (L,), and of the scales (L,) of weights of one byte."""
    return n_labels * (weight_bytes * dim + FLOAT * bias + (weight_bytes == 1))


def chunk(n_labels: int, dim: int, n_texts: int, threads: int) -> int:
    """The number of labels that a CPU processes at a time, as `label_pass.Chunks.for_shape` chooses it."""
    wanted = max(SMALLEST, CACHE_BYTES // (FLOAT * (2 * dim + n_texts)))
    rounds = -(-n_labels // (wanted * threads))
    return min(-(-n_labels // (rounds * threads)), n_labels)


def working(n_labels: int, dim: int, n_texts: int, threads: int) -> float:
    """Bytes of a training step beside weights and optimizer state: chunks and sums of all threads."""
    labels = chunk(n_labels, dim, n_texts, threads)
    of_chunk = labels * (n_texts + 2 * dim)  # logits; gradient of the weights, and its scaled copy
    return FLOAT * threads * (of_chunk + n_texts * dim)


def topk_working(
    n_labels: int, dim: int, n_texts: int, k: int, threads: int, *, weight_bytes: float = FLOAT
) -> float:
    """Bytes of a search for the k best labels: the logits of a chunk and the lists of all threads.

    Of narrow weights, each thread reads its chunk as float32.
    """
    labels = chunk(n_labels, dim, n_texts, threads)
    read = dim * (weight_bytes < FLOAT)
    return threads * (FLOAT * labels * (n_texts + read) + 2 * (FLOAT + 8) * n_texts * k)
