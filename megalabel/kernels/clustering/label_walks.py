"""Random walks between labels that share texts: how often walks from each label land on each other label.

A hop draws a uniformly random text of the current label, then a uniformly random label of that text, and
lands there. The first hop from label ℓ starts at ℓ; every later hop starts at ℓ with probability p_reset,
else where the last hop landed (ECLARE, Mittal et al. 2021; CascadeXML's label graph).

Hop h of label ℓ uses the numbers 2h and 2h + 1 of a stream that belongs to (seed, ℓ), so that the counts do
not depend on how labels are dealt out to threads. The numpy version below is the definition; the numba body
(`_cpu/label_walks.py`) draws the same numbers and gives the same counts.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.random import below, stream_keys, stream_numbers
from megalabel.kernels.sparse.hits import as_truth
from megalabel.kernels.sparse.sparse_rows import as_rows, check_kept, plain_keep_largest

_COMPILED = Operation(__package__, "label_walks", enough_work=1 << 20)  # hops

_BLOCK = 1000  # labels that the plain version walks from at once


def walk_counts(
    labels: sp.csr_matrix,
    *,
    hops: int = 400,
    p_reset: float = 0.8,
    top: int = 10,
    seed: int = 0,
) -> sp.csr_matrix:
    """How often random walks from each label land on each label, the most frequent ones only.

    Args:
        labels: (N, L) sparse; a positive value where a text has a label.
        hops: hops from each label, 1 or more.
        p_reset: probability that a later hop starts at the walk's own label, from 0 to 1.
        top: the largest counts that a row keeps; ties go to the lower label id.
        seed: any integer; one seed gives one result whatever the number of threads.

    Returns:
        (L, L) CSR float32 with sorted columns. The diagonal is there beside the `top` largest, with its own
        count, at least 1. A label without texts has an empty row.

    Raises:
        DataError: labels that are no valid sparse matrix, or negative values.
        SettingError: hops or top below 1, p_reset outside [0, 1].
    """
    labels = as_truth(labels)
    check_kept(top)
    if hops < 1:
        raise SettingError(
            f"{hops} hops", wanted="1 or more", next_step="pass the hops from each label", where="hops"
        )
    if not 0 <= p_reset <= 1:
        raise SettingError(
            f"a return probability of {p_reset}",
            wanted="a number from 0 to 1",
            next_step="pass 0.8, the published value",
            where="p_reset",
        )
    texts = labels.T.tocsr()
    fast = _COMPILED.for_work(hops * labels.shape[1])
    if fast is None:
        return _plain_walk_counts(labels, texts, hops, p_reset, top, seed)
    keys = stream_keys(seed, np.arange(labels.shape[1]))
    return fast.counts_of_walks(labels, texts, keys, hops, p_reset, top)


def _plain_walk_counts(
    labels: sp.csr_matrix, texts: sp.csr_matrix, hops: int, p_reset: float, top: int, seed: int
) -> sp.csr_matrix:
    n_labels = labels.shape[1]
    walkers = np.flatnonzero(np.diff(texts.indptr))
    parts = [sp.csr_matrix((n_labels, n_labels), dtype=np.float32)]
    for first in range(0, len(walkers), _BLOCK):
        block = walkers[first : first + _BLOCK]
        landed = _walk(labels, texts, block, hops, p_reset, seed)
        pairs = (np.ones(landed.size, dtype=np.float32), (np.tile(block, hops), landed.ravel()))
        counts = sp.csr_matrix(pairs, shape=(n_labels, n_labels))  # sums what occurs twice
        parts.append(_with_diagonal(counts, plain_keep_largest(as_rows(counts, "counts"), top), block))
    return sum(parts[1:], parts[0])


def _walk(
    labels: sp.csr_matrix, texts: sp.csr_matrix, block: np.ndarray, hops: int, p_reset: float, seed: int
) -> np.ndarray:
    """Where the hops from each label of the block land: (hops, len(block)) int64."""
    keys = stream_keys(seed, block)
    here = block
    landed = np.empty((hops, len(block)), dtype=np.int64)
    for hop in range(hops):
        if hop:
            chance = (stream_numbers(keys, 2 * hop + 1) >> np.uint64(11)).astype(np.float64) * 2.0**-53
            here = np.where(chance < p_reset, block, here)
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
