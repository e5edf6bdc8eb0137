"""How likely a true label is to have been written down at all, estimated from its training frequency.

Jain, Prabhu and Varma, "Extreme Multi-label Loss Functions for Recommendation, Tagging, Ranking & Other
Missing Label Applications", KDD 2016.
"""

from __future__ import annotations

import math

import numpy as np

from megalabel.errors import DataError, SettingError


def inverse_propensity(label_counts: np.ndarray, n_texts: int, a: float = 0.55, b: float = 1.5) -> np.ndarray:
    """1/p for each label, what a hit on it is worth in PSP and PSnDCG: (L,) float64, above 1.

        1/p_l = 1 + C (N_l + b)^(-a)        C = (ln N - 1) (b + 1)^a

    The counts are those of the *original* training texts. Counts that include label texts added as
    further training rows are another quantity (every N_l one higher, N larger by L) and give numbers
    that are not comparable with published ones.

    Args:
        label_counts: (L,), how many training texts have each label (N_l); 0 is allowed.
        n_texts: how many training texts there are (N), at least 3.
        a: 0.5 for Wikipedia sets, 0.6 for Amazon sets, else 0.55.
        b: 0.4 for Wikipedia sets, 2.6 for Amazon sets, else 1.5.

    Raises:
        DataError: counts that are not one finite number in [0, n_texts] a label.
        SettingError: n_texts below 3 (ln N - 1 would be negative), or a or b not above 0.
    """
    counts = np.asarray(label_counts)
    if counts.ndim != 1 or counts.dtype.kind not in "iuf":
        raise DataError(
            f"label counts of shape {counts.shape} and dtype {counts.dtype}",
            wanted="one number a label",
            next_step="pass numpy.asarray(labels.sum(axis=0)).ravel() of the training labels",
            where="label_counts",
        )
    if isinstance(n_texts, bool) or not isinstance(n_texts, (int, np.integer)) or n_texts < 3:
        raise SettingError(
            f"n_texts={n_texts!r}",
            wanted="the number of training texts, 3 or more",
            next_step="pass len(corpus.train)",
            where="n_texts",
        )
    for name, value in (("a", a), ("b", b)):
        if not (isinstance(value, (int, float, np.number)) and math.isfinite(value) and value > 0):
            raise SettingError(
                f"{name}={value!r}",
                wanted="a finite number above 0",
                next_step="use 0.55 and 1.5 unless the data set's page names others",
                where=name,
            )
    bad = ~((counts >= 0) & (counts <= n_texts))  # true for NaN as well
    if bad.any():
        label = int(np.flatnonzero(bad)[0])
        raise DataError(
            f"label {label} is said to be on {counts[label]} of {n_texts} training texts",
            wanted=f"a count from 0 to {n_texts}",
            next_step="count distinct texts in the original training labels, without added label texts",
            where="label_counts",
        )
    c = (math.log(n_texts) - 1.0) * (b + 1.0) ** a
    return np.asarray(1.0 + c * (counts.astype(np.float64) + b) ** -a)
