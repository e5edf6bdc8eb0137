"""Monotone functions from scores to probabilities, one for all ranks and one for each group of ranks.

    probability(score, rank) = min over groups g up to that of the rank of f_g(score)

f_g is the share of true labels among those of a group of ranks: isotonic over bins of scores, smoothed by a
logistic fit, and interpolated between the means of the bins. The score of the first label of a text means more
than the same score further down. The minimum falls along a ranking, so that rankings do not change.
"""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from megalabel.metrics.calibration import increasing
from megalabel.models.mixture import Mixture, log_odds
from megalabel.types import ScoreType, TopK

RANKS = (0, 1, 2, 3, 5, 10)  # first rank of each group, from 0
PER_BIN, MOST_BINS = 40, 150  # predictions of a bin, and bins
SLOPE = 0.02  # of the way to 0 and 1, by which probabilities change in the outermost bins
PRIOR = 4.0  # predictions of each bin that follow the logistic fit

Knots = tuple[np.ndarray, np.ndarray]  # scores and probabilities (m,), both rising


def functions_of(scores: np.ndarray, hit: np.ndarray, score_type: ScoreType) -> list[Knots]:
    """The monotone functions of all ranks, and of each group of ranks."""
    stops = (*RANKS[1:], scores.shape[1])
    groups = [slice(0, scores.shape[1]), *(slice(a, b) for a, b in zip(RANKS, stops, strict=True))]
    found: list[Knots] = []
    for group in groups:
        there = np.isfinite(scores[:, group])
        values, true = scores[:, group][there].astype(np.float64), hit[:, group][there]
        found.append(_knots(values, true, score_type) if len(values) else found[-1])
    return found


def probability_of(scores: np.ndarray, functions: list[Knots], *, ranked: bool = True) -> np.ndarray:
    """The probabilities of scores (…, k) by functions of all ranks and of each group: float64."""
    if not ranked:
        found = np.interp(scores, *functions[0])
    else:
        found = np.empty(scores.shape)
        stops = (*RANKS[1:], max(scores.shape[-1], RANKS[-1]))
        for group, (start, stop) in enumerate(zip(RANKS, stops, strict=True), 1):
            part = scores[..., start:stop]
            of_ranks = [np.interp(part, *function) for function in functions[1 : group + 1]]
            found[..., start:stop] = np.minimum.reduce(of_ranks)
    return np.where(np.isneginf(scores), -np.inf, found)


def _knots(values: np.ndarray, true: np.ndarray, score_type: ScoreType) -> Knots:
    """The knots of a function from scores (m,) to the share of true ones; half of the bins are at the top."""
    n_bins = int(np.clip(len(values) // PER_BIN, 1, MOST_BINS))
    order = np.sort(values)
    top = order[-min(len(order), max(PER_BIN, int(3 * true.sum()))) :]
    cuts = [np.quantile(part, np.linspace(0, 1, n_bins + 1)[1:-1]) for part in (order, top) if len(part) > PER_BIN]
    edges = np.unique(np.concatenate([*cuts, np.zeros(0)]))
    bins = np.searchsorted(edges, values, side="right")
    counts = np.bincount(bins, minlength=len(edges) + 1).astype(np.float64)
    sums = [np.bincount(bins, part, minlength=len(counts)) for part in (values, true)]
    filled = counts > 0
    counts, x, hits_of = counts[filled], sums[0][filled] / counts[filled], sums[1][filled]
    one = TopK(np.zeros((len(values), 1), np.int64), values[:, None])
    line = (
        Mixture.fit([one], [score_type], sp.csr_matrix(true[:, None].astype(np.float32)), [1.0])
        if true.any()
        else None
    )
    if line is None:
        prior = np.full(len(x), 1 / (len(values) + 2))
    else:
        z = line.slopes[0] * log_odds(x, score_type) + line.offsets[0]
        prior = 1 / (1 + np.exp(-np.clip(z, -500, 500)))
    masses = counts + PRIOR
    p, starts = increasing((hits_of + PRIOR * prior) / masses, masses)
    means = np.add.reduceat(x * masses, starts) / np.add.reduceat(masses, starts)
    # A slight slope beyond the means of the outermost bins, so that thresholds can divide these.
    low, high = order[order < means[0]][:1], order[order > means[-1]][-1:]
    means = np.concatenate([low, means, high])
    ends = np.full(len(low), p[0] * (1 - SLOPE)), np.full(len(high), p[-1] + (1 - p[-1]) * SLOPE)
    return means, np.clip(np.concatenate([ends[0], p, ends[1]]), 0, 1)
