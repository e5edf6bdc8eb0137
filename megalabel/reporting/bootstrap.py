"""Bootstrap intervals of means and of ratios of means over texts, paired for models that rank the same texts."""

from __future__ import annotations

import numpy as np

RESAMPLES = 1000
FEWEST_RESAMPLES = 200
DRAWS = 1 << 27  # of texts, from which on there are fewer resamples
LEVEL = 0.95


def resampled_sums(values: np.ndarray, *, seed: int = 0) -> np.ndarray:
    """Sums over resamples of N texts, drawn with replacement: (R, m) float64.

    All columns see the same resamples, so that differences of columns are paired (Efron and Tibshirani, "An
    Introduction to the Bootstrap", 1993, chapters 6 and 8). R is 1,000, and down to 200 for millions of texts.

    Args:
        values: (N, m) numbers per text.
        seed: of the draws.
    """
    n = len(values)
    random = np.random.default_rng(seed)
    resamples = int(np.clip(DRAWS // max(n, 1), FEWEST_RESAMPLES, RESAMPLES))
    sums = np.empty((resamples, values.shape[1]))
    for i in range(resamples):
        weights = np.bincount(random.integers(0, n, n), minlength=n)
        sums[i] = weights @ values
    return sums


def interval(samples: np.ndarray) -> tuple[float, float]:
    """The percentile interval of 95% of resampled values (R,)."""
    low, high = np.quantile(samples, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def wilson(successes: np.ndarray, trials: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper bounds of shares at 95% (Wilson, 1927); 0 and 1 without trials."""
    n = np.maximum(trials, 1).astype(np.float64)
    p, z = successes / n, 1.959964
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return np.where(trials > 0, middle - half, 0.0), np.where(trials > 0, middle + half, 1.0)
