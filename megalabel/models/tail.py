"""Which labels of a ranking favor rare ones, and how far held-out texts say that an answer should go."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.metrics.ranking import measure
from megalabel.types import TopK

TAILS = tuple(i / 10 for i in range(11))
LABELS = 5  # of an answer, by which held-out texts choose


def places(ids: np.ndarray, p: np.ndarray, inverse: np.ndarray, tail: float, k: int) -> np.ndarray:
    """Where in a ranking the k labels with the largest p · (1/propensity)^tail are, in its order: (N, k) int64.

    So the labels of an answer are those that add most to a mean of P@k and PSP@k, and the most probable of them
    come first. Ties go to the earlier label. A tail of 0 leaves the first k labels, whatever p is.

    Args:
        ids, p: (N, K) labels, -1 for none, and their probabilities by `answer.for_tail`; K of at least k.
        inverse: (L,) inverse propensities.
        tail: from 0 to 1.
        k: labels per text.
    """
    if tail == 0:
        return np.broadcast_to(np.arange(k), (len(ids), k))
    gain = np.where(ids < 0, -np.inf, p.astype(np.float64) * inverse[np.maximum(ids, 0)] ** tail)
    return np.sort(np.argsort(-gain, axis=1, kind="stable")[:, :k], axis=1)


def balanced_tail(
    ids: np.ndarray, p: np.ndarray, truth: sp.csr_matrix, inverse: np.ndarray, n_true: np.ndarray | None = None
) -> float:
    """The value of `TAILS` for which P@5 + PSP@5 of held-out texts is largest; the smallest one of equals.

    Args:
        ids, p, inverse: as for `places`.
        truth: (N, L) CSR, above 0 where a text has a label; one of the K labels of some text is true.
        n_true: (N,) true labels of each text, those without a column included; None: those of `truth`.
    """
    k = min(LABELS, ids.shape[1])
    sums = []
    for tail in TAILS:
        at = places(ids, p, inverse, tail, k)
        top = TopK(np.take_along_axis(ids, at, 1), -at.astype(np.float32))  # by rank, as scores may be equal
        found = measure(top, truth, k=k, inverse_propensity=inverse, which=("P", "PSP"), n_true=n_true)
        sums.append(found[f"P@{k}"] + found[f"PSP@{k}"])
    return TAILS[int(np.argmax(sums))]
