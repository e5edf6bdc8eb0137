"""How far probabilities are from the shares of labels that are true, and isotonic regression, which closes it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.kernels.sparse.hits import as_truth, hits
from megalabel.metrics.topk import checked_arrays
from megalabel.types import TopK

BINS = 15  # of equal numbers of predictions, for the expected calibration error


class Reliability(NamedTuple):
    """Predictions in bins by their probability, lowest first; arrays (b,).

    counts: the predictions of each bin. predicted: their mean probability. true: the share of them that is true.
    """

    counts: np.ndarray
    predicted: np.ndarray
    true: np.ndarray

    @property
    def error(self) -> float:
        """The expected calibration error: the mean distance of probability and share over all predictions."""
        if not self.counts.sum():
            return 0.0
        return float(np.average(np.abs(self.predicted - self.true), weights=self.counts))


def reliability(top: TopK, truth: sp.csr_matrix, k: int = 5, *, bins: int = BINS) -> Reliability:
    """Compares the probabilities of the first k labels of each text with how often these labels are true.

    Args:
        top: (N, K) label ids and probabilities, best first.
        truth: (N, L) CSR, above 0 where a text has a label.
        k: labels per text, at least 1; all K where there are fewer.
        bins: the number of bins, which hold equally many predictions (Naeini, Cooper and Hauskrecht, AAAI 2015).

    Raises:
        SettingError: k or bins is below 1.
        DataError: the ranking or the truth is damaged, or they have different numbers of texts.
    """
    for name, value in (("k", k), ("bins", bins)):
        if value < 1:
            raise SettingError.range(name, value, 1, integer=True)
    ids, p = (array[:, :k] for array in checked_arrays(top))
    there = ids >= 0
    true = hits(ids, as_truth(truth))[there]
    p = p[there].astype(np.float64)
    order = np.argsort(p, kind="stable")
    parts = [part for part in np.array_split(order, min(bins, max(len(order), 1))) if len(part)]
    counts = np.array([len(part) for part in parts], np.int64)
    means = [np.array([values[part].mean() for part in parts]) for values in (p, true)]
    return Reliability(counts, *means)


def increasing(values: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pools neighbors that fall, so that the values rise strictly (pool adjacent violators; Ayer et al., 1955).

    Args:
        values: (m,) in the order in which they should rise.
        weights: (m,) above 0.

    Returns:
        The values of the blocks (b,) float64, rising, and the first position of each block (b,) int64.
    """
    sums: list[float] = []
    totals: list[float] = []
    starts: list[int] = []
    for i, (value, weight) in enumerate(zip(values.tolist(), weights.tolist(), strict=True)):
        total, mass, start = value * weight, weight, i
        while sums and sums[-1] / totals[-1] >= total / mass:
            total, mass, start = total + sums.pop(), mass + totals.pop(), starts.pop()
        sums.append(total)
        totals.append(mass)
        starts.append(start)
    return np.array(sums) / np.array(totals), np.array(starts, np.int64)
