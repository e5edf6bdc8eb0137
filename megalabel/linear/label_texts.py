"""Label texts as training rows of their own labels: whether these would be correct, and the rows."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError
from megalabel.kernels.sparse.sparse_rows import product_keep_largest

SAMPLE = 4096  # texts in the sample
MOST_SIMILAR = 4  # a quarter of the sample is used: the texts most similar to a label text
MIN_PRECISION = 0.1  # the fraction of these that must have the label


def label_text_precision(
    texts: sp.csr_matrix, labels: sp.csr_matrix, names: sp.csr_matrix, *, seed: int = 0
) -> float:
    """The fraction of texts very similar to a label text that have this label.

    Where labels are subjects, similar texts tend to have the label. Where labels are items of the same kind as
    the texts (see-also links, dependencies), a text that is similar to a label text *is* that item, and no item
    is its own label, so the label text would be a wrong example (measured in `docs/log.md`).

    Args:
        texts: (N, V) float32 CSR, rows of length 1.
        labels: (N, L) CSR, above 0 where a text has a label.
        names: (L, V) float32 CSR, the label texts in the same space; rows of zeros are similar to no text.
        seed: seeds the sample of texts.

    Returns:
        A number from 0 to 1: of the quarter of a sample of texts that are most similar to a label text, the
        fraction that has this label; 0 if no text is similar to any label text.

    Raises:
        DataError: the shapes of the matrices do not fit each other.
    """
    if texts.shape[0] != labels.shape[0] or names.shape != (labels.shape[1], texts.shape[1]):
        raise DataError(
            f"texts {texts.shape}, labels {labels.shape} and label texts {names.shape}",
            wanted="(N, V), (N, L) and (L, V)",
            next_step="use the same vocabulary for texts and label texts",
        )
    picked = np.random.default_rng(seed).permutation(texts.shape[0])[:SAMPLE]
    best = product_keep_largest(texts[picked], names.T.tocsr(), 1)
    matched = np.flatnonzero(np.diff(best.indptr))
    if len(matched) == 0:
        return 0.0
    most_similar = matched[np.argsort(-best.data, kind="stable")[: -(-len(matched) // MOST_SIMILAR)]]
    entries = best.indptr[most_similar]
    return float((np.asarray(labels[picked[most_similar], best.indices[entries]]) > 0).mean())


def add_label_text_rows(
    texts: sp.csr_matrix, labels: sp.csr_matrix, names: sp.csr_matrix
) -> tuple[sp.csr_matrix, sp.csr_matrix, np.ndarray]:
    """Appends a row for each label text that has a feature, with the label itself as its only label.

    Args:
        texts: (N, V) CSR.
        labels: (N, L) CSR.
        names: (L, V) CSR, the label texts; (0, V) for none.

    Returns:
        (N + n, V) and (N + n, L) CSR, and (n,) int64, the labels whose texts became rows.
    """
    rows = np.flatnonzero(np.diff(names.indptr))
    ones = (np.ones(len(rows), dtype=labels.dtype), (np.arange(len(rows)), rows))
    identity = sp.csr_matrix(ones, shape=(len(rows), labels.shape[1]))
    return sp.vstack([texts, names[rows]], format="csr"), sp.vstack([labels, identity], format="csr"), rows
