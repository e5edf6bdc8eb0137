"""Label texts as training texts of their own labels: whether that would teach what is true, and the rows."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError
from megalabel.kernels.sparse.sparse_rows import product_keep_largest

SAMPLE = 4096  # texts that are asked
SUREST = 4  # of them one in so many counts: those that are most like a label's text
ENOUGH = 0.1  # of these so many must have the label


def precision_of_the_surest(
    texts: sp.csr_matrix, labels: sp.csr_matrix, names: sp.csr_matrix, *, seed: int = 0
) -> float:
    """How often a text that is very like some label's text has that label, from 0 to 1.

    Where labels are subjects, it is the more often the more alike the two are. Where labels are items like the
    texts (see-also links, dependencies), a text that is like a label's text *is* that item, and no item is its
    own label: such a label text would be a wrong example (measured in `docs/log.md`).

    Args:
        texts: (N, V) float32 CSR, rows of length 1.
        labels: (N, L) CSR, above 0 where a text has a label.
        names: (L, V) float32 CSR, the label texts in the same space; rows of zeros are never alike.
        seed: of the sample.

    Returns:
        Of the quarter of a sample of texts that are most like a label's text, the share that has this label;
        0 where no text is like any.

    Raises:
        DataError: matrices that do not fit each other.
    """
    if texts.shape[0] != labels.shape[0] or names.shape != (labels.shape[1], texts.shape[1]):
        raise DataError(
            f"texts {texts.shape}, labels {labels.shape} and label texts {names.shape}",
            wanted="(N, V), (N, L) and (L, V)",
            next_step="make texts and label texts with the same vocabulary",
        )
    picked = np.random.default_rng(seed).permutation(texts.shape[0])[:SAMPLE]
    likest = product_keep_largest(texts[picked], names.T.tocsr(), 1)
    found = np.flatnonzero(np.diff(likest.indptr))
    if len(found) == 0:
        return 0.0
    surest = found[np.argsort(-likest.data, kind="stable")[: -(-len(found) // SUREST)]]
    places = likest.indptr[surest]
    return float((np.asarray(labels[picked[surest], likest.indices[places]]) > 0).mean())


def with_own_texts(
    texts: sp.csr_matrix, labels: sp.csr_matrix, names: sp.csr_matrix
) -> tuple[sp.csr_matrix, sp.csr_matrix, np.ndarray]:
    """Texts and labels, and behind them a row for each label text that has a feature: itself as the only label.

    Args and shapes as above, or names (0, V) for none. Returns (N + n, V) and (N + n, L) CSR, and (n,) the labels
    whose texts became rows.
    """
    own = np.flatnonzero(np.diff(names.indptr))
    ones = (np.ones(len(own), dtype=labels.dtype), (np.arange(len(own)), own))
    selves = sp.csr_matrix(ones, shape=(len(own), labels.shape[1]))
    return sp.vstack([texts, names[own]], format="csr"), sp.vstack([labels, selves], format="csr"), own
