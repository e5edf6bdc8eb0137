"""TF-IDF of tokens, as sparse rows.

    weight[n, t] = (1 + ln tf[n, t]) · idf[t],   idf[t] = ln((1 + N) / (1 + n_t)) + 1,   rows of length 1

where tf[n, t] is the number of occurrences of token t in text n, and n_t the number of the N texts that hold it.
The logarithm of the count (sublinear tf) and the smoothed idf are those of Salton & Buckley, "Term-weighting
approaches in automatic text retrieval", 1988, in the form of scikit-learn
(`TfidfTransformer(sublinear_tf=True)`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.inputs.token_store import TokenStore

BLOCK = 1 << 22  # tokens that are counted at once


def term_counts(store: TokenStore, *, skip: Sequence[int] = ()) -> sp.csr_matrix:
    """Counts the occurrences of each token in each text, block by block, so that little memory is used.

    Args:
        store: N tokenized texts.
        skip: tokens to ignore, such as the one for unknown words.

    Returns:
        (N, V) float32 CSR, where V is the size of the vocabulary of the tokenizer.
    """
    n, size = len(store), int(store.manifest["vocabulary_size"])
    indptr = np.zeros(n + 1, dtype=np.int64)
    index = np.int32 if len(store.ids) < 2**31 else np.int64
    columns = np.empty(len(store.ids), dtype=index)  # the system allots a page only when it is written
    values = np.empty(len(store.ids), dtype=np.float32)
    skipped = np.zeros(size, dtype=bool)
    skipped[list(skip)] = True
    filled = 0
    for first, last in _row_blocks(store.offsets):
        block = _count(store, first, last, skipped)
        indptr[first + 1 : last + 1] = filled + block.indptr[1:]
        columns[filled : filled + block.nnz] = block.indices
        values[filled : filled + block.nnz] = block.data
        filled += block.nnz
    columns.resize(filled, refcheck=False)  # shrinks in place
    values.resize(filled, refcheck=False)
    counts = sp.csr_matrix((values, columns, indptr.astype(index)), shape=(n, size))
    counts.has_canonical_format = True
    return counts


def learn_idf(counts: sp.csr_matrix) -> np.ndarray:
    """The idf of each token in these texts: (V,) float32, at least 1."""
    frequencies = np.bincount(counts.indices, minlength=counts.shape[1])
    idf: np.ndarray = np.log((1 + counts.shape[0]) / (1 + frequencies)) + 1
    return idf.astype(np.float32)


def weigh(counts: sp.csr_matrix, idf: np.ndarray) -> sp.csr_matrix:
    """Turns counts (N, V) into TF-IDF rows of length 1, *in place*; a row of zeros stays one.

    Args:
        counts: the counts, which are overwritten.
        idf: (V,) float32; it may be learned from other texts with the same vocabulary, as label texts are weighted
            by the idf of the training texts.

    Raises:
        SettingError: the idf belongs to another vocabulary.
    """
    if idf.shape != (counts.shape[1],):
        raise SettingError(
            f"an idf of shape {idf.shape} for a vocabulary of {counts.shape[1]}",
            wanted="one number per token",
            next_step="tokenize both sets of texts with the same tokenizer",
        )
    np.log(counts.data, out=counts.data)
    counts.data += 1
    for start in range(0, counts.nnz, BLOCK):  # blocks avoid a second array of the size of the matrix
        part = slice(start, start + BLOCK)
        counts.data[part] *= idf[counts.indices[part]]
    return l2_rows(counts)


def tfidf(
    store: TokenStore, *, idf: np.ndarray | None = None, skip: Sequence[int] = ()
) -> tuple[sp.csr_matrix, np.ndarray]:
    """Computes the TF-IDF of texts.

    Args:
        store: N tokenized texts.
        idf: (V,) float32; default: learned from these texts.
        skip: tokens to ignore.

    Returns:
        (N, V) float32 CSR with rows of length 1, and the idf, (V,) float32.
    """
    counts = term_counts(store, skip=skip)
    idf = learn_idf(counts) if idf is None else idf
    return weigh(counts, idf), idf


def l2_rows(matrix: sp.csr_matrix) -> sp.csr_matrix:
    """Scales each row to Euclidean length 1, *in place*, and returns the matrix; rows of zeros stay."""
    for first, last in _row_blocks(matrix.indptr):
        indptr = matrix.indptr[first : last + 1]
        values = matrix.data[indptr[0] : indptr[-1]]
        lengths = np.diff(indptr)
        full = np.flatnonzero(lengths)  # reduceat sums from the start of one such row to the start of the next
        squares = np.add.reduceat(np.square(values, dtype=np.float64), (indptr - indptr[0])[full])
        scale = np.divide(1.0, np.sqrt(squares), out=np.zeros_like(squares), where=squares > 0)
        values *= np.repeat(scale.astype(np.float32), lengths[full])
    return matrix


def _count(store: TokenStore, first: int, last: int, skipped: np.ndarray) -> sp.csr_matrix:
    """The counts of the texts from `first` to below `last`."""
    offsets = store.offsets[first : last + 1]
    ids = np.asarray(store.ids[offsets[0] : offsets[-1]], dtype=np.int32)
    indptr = offsets - offsets[0]
    if skipped.any():
        keep = ~skipped[ids]
        before = np.concatenate([[0], np.cumsum(keep)])
        ids, indptr = ids[keep], before[indptr]
    block = sp.csr_matrix(
        (np.ones(len(ids), dtype=np.float32), ids, indptr.astype(np.int32)), shape=(last - first, len(skipped))
    )
    block.sum_duplicates()
    return block


def _row_blocks(offsets: np.ndarray) -> Iterator[tuple[int, int]]:
    """Yields ranges of rows of about `BLOCK` entries, with at least one row each."""
    first, n = 0, len(offsets) - 1
    while first < n:
        last = int(np.searchsorted(offsets, offsets[first] + BLOCK, side="right")) - 1
        last = min(max(last, first + 1), n)
        yield first, last
        first = last
