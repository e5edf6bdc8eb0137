"""What `evidence.py` and its compiled body share: rankings, what is known of labels, and constants."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

VOTED, DOCUMENTED, BESIDES = 15, 10, 20  # candidates from votes, label documents, and labels beside others
NEAR, BESIDE = 10, 10  # see above
NO_RANKING = -20.0  # log-odds where a ranking of a text is empty
OWN = -1.0  # in place of the probability of a label given itself
FURTHER = 15  # features that do not belong to a ranking


class Ranked(NamedTuple):
    """Ids (n, k), -1 for none, best first, and their scores (n, k)."""

    ids: np.ndarray
    scores: np.ndarray


class Knowledge(NamedTuple):
    """What is known about R training texts and L labels.

    row_labels: (R, L) CSR, above 0 where a row has a label. beside: (L, L) CSR float32, P(l | j) in row j.
    counts: (L,) float32.
    """

    row_labels: sp.csr_matrix
    beside: sp.csr_matrix
    counts: np.ndarray
