"""How often labels occur beside each other in training texts.

    beside[j, l] = #{texts with j and l} / (#{texts with j} + 2),   l ≠ j

The 2 keeps labels of one or two texts from predicting others with certainty.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.sparse.sparse_rows import product_keep_largest

KEPT = 100  # labels per label
PRIOR = 2


def labels_beside(labels: sp.csr_matrix) -> tuple[sp.csr_matrix, np.ndarray]:
    """The probability of each label given another one, and the number of texts of each label.

    Args:
        labels: (N, L) CSR, above 0 where a text has a label.

    Returns:
        (L, L) CSR float32, row j with the largest probabilities given label j, and (L,) float32.
    """
    has = sp.csr_matrix(((labels.data > 0).astype(np.float32), labels.indices, labels.indptr), shape=labels.shape)
    has.eliminate_zeros()
    counts = np.bincount(has.indices, minlength=has.shape[1]).astype(np.float32)
    both = product_keep_largest(has.T.tocsr(), has, KEPT + 1).tocoo()
    other = both.row != both.col
    rows, columns = both.row[other], both.col[other]
    shares = (both.data[other] / (counts[rows] + PRIOR)).astype(np.float32)
    beside = sp.csr_matrix((shares, (rows, columns)), shape=both.shape)
    beside.sort_indices()
    return beside, counts
