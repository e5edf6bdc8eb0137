"""Propensities: the probability that a true label is annotated, estimated from its training frequency.

Jain, Prabhu and Varma, "Extreme Multi-label Loss Functions for Recommendation, Tagging, Ranking & Other
Missing Label Applications", KDD 2016.
"""

from __future__ import annotations

import math

import numpy as np

from megalabel.errors import DataError, SettingError


def inverse_propensity(label_counts: np.ndarray, n_texts: int, a: float = 0.55, b: float = 1.5) -> np.ndarray:
    """The inverse propensity 1/p of each label, which is its gain in PSP and PSnDCG.

        1/p_l = 1 + C (N_l + b)^(-a)        C = (ln N - 1) (b + 1)^a

    The counts must be those of the *original* training texts. Counts that include label texts as additional
    training rows (every N_l is one higher, N larger by L) make metrics that are not comparable with published
    ones.

    Args:
        label_counts: (L,) numbers, the training texts that have each label (N_l); 0 is allowed.
        n_texts: the number of training texts (N), at least 3.
        a: 0.5 for Wikipedia sets, 0.6 for Amazon sets, else 0.55.
        b: 0.4 for Wikipedia sets, 2.6 for Amazon sets, else 1.5.

    Raises:
        DataError: the counts are not one finite number from 0 to n_texts per label.
        SettingError: n_texts is below 3 (ln N - 1 would be negative), or a or b is not above 0.

    Returns:
        (L,) float64, above 1.
    """
    counts = np.asarray(label_counts)
    if counts.ndim != 1 or counts.dtype.kind not in "iuf":
        raise DataError(
            f"label counts of shape {counts.shape} and dtype {counts.dtype}",
            wanted="one number per label",
            next_step="pass numpy.asarray(labels.sum(axis=0)).ravel() of the training labels",
            where="label_counts",
        )
    if isinstance(n_texts, bool) or not isinstance(n_texts, (int, np.integer)) or n_texts < 3:
        raise SettingError.range("n_texts", n_texts, 3, integer=True, next_step="pass len(corpus.train)")
    for name, value in (("a", a), ("b", b)):
        if not (isinstance(value, (int, float, np.number)) and math.isfinite(value) and value > 0):
            step = "use 0.55 and 1.5, unless the page of the data set gives others"
            raise SettingError.range(name, value, 0, above=True, next_step=step)
    bad = ~((counts >= 0) & (counts <= n_texts))  # true for NaN as well
    if bad.any():
        label = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"label {label} has a count of {counts[label]}, but there are {n_texts} training texts",
            wanted=f"a count from 0 to {n_texts}",
            next_step="count the original training texts, without added label texts",
            where="label_counts",
        )
    try:
        c = (math.log(n_texts) - 1.0) * (b + 1.0) ** a
    except OverflowError:
        c = math.inf
    if not math.isfinite(c):
        raise SettingError(
            f"a = {a:g} and b = {b:g}, whose propensities are beyond the largest number",
            wanted="numbers near 0.55 and 1.5",
            next_step="correct them; published values of a are 0.5 to 0.6, those of b 0.4 to 2.6",
            where="propensity",
        )
    return np.asarray(1.0 + c * (counts.astype(np.float64) + b) ** -a)
