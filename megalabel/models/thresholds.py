"""Tables of the precision and the recall of the labels above a threshold, measured on held-out texts."""

from __future__ import annotations

import numpy as np

FIRST = 5  # first labels of a text, by which thresholds are spread
THRESHOLDS, RECALLS = 300, 2000  # entries of the tables
Z = 2.33  # one-sided 99%, so that a precision also holds on as many texts again in 95 of 100 cases
FEW_PREDICTIONS = 50  # below which no precision is promised


def precision_table(p: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds of probabilities, falling, and a lower bound of the precision of the labels that reach each.

    Args:
        p: (N, K) probabilities, falling along the rows, -inf where there is no label.
        hit: (N, K) bool, which labels are true.

    The bound is that of Wilson (1927) for a number of predictions that is reduced by how much more the precision
    varies between texts than independent predictions would.
    """
    there = np.isfinite(p)
    values = np.sort(p[there])[::-1]
    first = np.sort(p[:, :FIRST][there[:, :FIRST]])[::-1]
    spaced = (
        np.unique(np.geomspace(FEW_PREDICTIONS, max(len(values), FEW_PREDICTIONS), THRESHOLDS).astype(int)) - 1
    )
    even = np.linspace(0, len(first) - 1, THRESHOLDS).astype(int)
    thresholds = np.unique(np.concatenate([values[spaced[spaced < len(values)]], first[even]]))[::-1]
    bounds = np.zeros(len(thresholds))
    so_far = np.concatenate([np.zeros((len(hit), 1), np.int64), np.cumsum(hit, axis=1)], axis=1)
    rows = np.arange(len(hit))
    for i, threshold in enumerate(thresholds):
        predicted = (p >= threshold).sum(axis=1)
        bounds[i] = _bound(predicted, so_far[rows, predicted])
    return thresholds, bounds


def _bound(predicted: np.ndarray, true: np.ndarray) -> float:
    """The lower bound of the precision over texts with some predictions, of which some are true."""
    n = int(predicted.sum())
    if n < FEW_PREDICTIONS:
        return 0.0
    share = float(true.sum() / n)
    spread = float(((true - share * predicted) ** 2).sum())
    as_many = float(n)
    if 0 < share < 1:
        as_many /= max(spread / (n * share * (1 - share)), 1.0)
    middle = share + Z**2 / (2 * as_many)
    width = Z * np.sqrt(share * (1 - share) / as_many + Z**2 / (4 * as_many**2))
    return max(float((middle - width) / (1 + Z**2 / as_many)), 0.0)


def recall_table(p: np.ndarray, hit: np.ndarray, counts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Thresholds of probabilities, falling, and the mean recall of the labels that reach each, over labeled texts.

    Args:
        p, hit: as in `precision_table`.
        counts: (N,) the true labels of each text.
    """
    labeled = counts > 0
    weights = np.broadcast_to(1 / np.maximum(counts, 1)[:, None] / labeled.sum(), hit.shape)[hit]
    values = p[hit]
    order = np.argsort(-values, kind="stable")
    values, recalls = values[order], np.minimum(np.cumsum(weights[order]), 1.0)
    last = np.append(values[1:] < values[:-1], True)  # of equal scores: all of them reach it
    values, recalls = values[last], recalls[last]
    kept = np.unique(np.linspace(0, len(values) - 1, RECALLS).round().astype(int))
    return values[kept], recalls[kept]
