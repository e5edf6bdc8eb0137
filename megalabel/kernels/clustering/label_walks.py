"""Random walks between labels that share texts: counts of the labels that walks from each label visit.

A step draws a uniformly random text of the current label, then a uniformly random label of that text, which it
visits. The first step from label ℓ starts at ℓ; every later step starts at ℓ with probability
`restart_probability`, else at the label of the previous step (ECLARE, Mittal et al. 2021; CascadeXML's label
graph).

Step h of label ℓ uses the numbers 2h and 2h + 1 of a random stream that belongs to (seed, ℓ), so the counts do not
depend on the number of threads. The numpy version below is the reference; the numba version
(`_cpu/label_walks.py`) draws the same numbers and returns the same counts.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.random import below, stream_keys, stream_numbers
from megalabel.kernels.sparse.hits import as_truth
from megalabel.kernels.sparse.sparse_rows import as_rows, check_kept, plain_keep_largest

_COMPILED = Operation(__package__, "label_walks", enough_work=1 << 20)  # steps of all walks

_BLOCK = 1000  # labels whose walks the plain version makes together


def walk_counts(
    labels: sp.csr_matrix,
    *,
    walk_length: int = 400,
    restart_probability: float = 0.8,
    top_k: int = 10,
    seed: int = 0,
) -> sp.csr_matrix:
    """Counts how often random walks from each label visit each label, and keeps the most frequent ones.

    Args:
        labels: (N, L) sparse; a positive value where a text has a label.
        walk_length: number of steps from each label, 1 or more.
        restart_probability: probability that a later step starts at the walk's own label, from 0 to 1.
        top_k: number of counts kept per row; ties go to the lower label id.
        seed: any integer; the result does not depend on the number of threads.

    Returns:
        (L, L) CSR float32 with sorted columns. The diagonal is kept besides the `top_k` largest, with its own
        count, at least 1. A label without texts has an empty row.

    Raises:
        DataError: labels are not a valid sparse matrix, or contain negative values.
        SettingError: walk_length or top_k is below 1, or restart_probability is not in [0, 1].
    """
    labels = as_truth(labels)
    check_kept(top_k)
    if walk_length < 1:
        raise SettingError(f"walk_length = {walk_length}", wanted="1 or more", where="walk_length")
    if not 0 <= restart_probability <= 1:
        raise SettingError(
            f"restart_probability = {restart_probability}",
            wanted="a number from 0 to 1",
            where="restart_probability",
        )
    texts = labels.T.tocsr()
    fast = _COMPILED.for_work(walk_length * labels.shape[1])
    if fast is None:
        return _plain_walk_counts(labels, texts, walk_length, restart_probability, top_k, seed)
    keys = stream_keys(seed, np.arange(labels.shape[1]))
    return fast.counts_of_walks(labels, texts, keys, walk_length, restart_probability, top_k)


def _plain_walk_counts(
    labels: sp.csr_matrix,
    texts: sp.csr_matrix,
    walk_length: int,
    restart_probability: float,
    top_k: int,
    seed: int,
) -> sp.csr_matrix:
    n_labels = labels.shape[1]
    walkers = np.flatnonzero(np.diff(texts.indptr))
    parts = [sp.csr_matrix((n_labels, n_labels), dtype=np.float32)]
    for first in range(0, len(walkers), _BLOCK):
        block = walkers[first : first + _BLOCK]
        landed = _walk(labels, texts, block, walk_length, restart_probability, seed)
        pairs = (np.ones(landed.size, dtype=np.float32), (np.tile(block, walk_length), landed.ravel()))
        counts = sp.csr_matrix(pairs, shape=(n_labels, n_labels))  # sums repeated entries
        parts.append(_with_diagonal(counts, plain_keep_largest(as_rows(counts, "counts"), top_k), block))
    return sum(parts[1:], parts[0])


def _walk(
    labels: sp.csr_matrix,
    texts: sp.csr_matrix,
    block: np.ndarray,
    walk_length: int,
    restart_probability: float,
    seed: int,
) -> np.ndarray:
    """The labels visited by the walks from each label of the block: (walk_length, len(block)) int64."""
    keys = stream_keys(seed, block)
    here = block
    landed = np.empty((walk_length, len(block)), dtype=np.int64)
    for hop in range(walk_length):
        if hop:
            chance = (stream_numbers(keys, 2 * hop + 1) >> np.uint64(11)).astype(np.float64) * 2.0**-53
            here = np.where(chance < restart_probability, block, here)
        bits = stream_numbers(keys, 2 * hop)
        start, count = texts.indptr[here], np.diff(texts.indptr)[here]
        text = texts.indices[start + below(bits >> np.uint64(32), count)]
        start, count = labels.indptr[text], np.diff(labels.indptr)[text]
        here = labels.indices[start + below(bits & np.uint64(0xFFFFFFFF), count)].astype(np.int64)
        landed[hop] = here
    return landed


def _with_diagonal(counts: sp.csr_matrix, kept: sp.csr_matrix, block: np.ndarray) -> sp.csr_matrix:
    own = np.zeros(counts.shape[0], dtype=np.float32)
    own[block] = np.maximum(counts.diagonal()[block], 1)
    missing = sp.diags(own - kept.diagonal(), format="csr", dtype=np.float32)
    missing.eliminate_zeros()
    both = (kept + missing).tocsr()
    both.sort_indices()
    return both
