"""Corrects probabilities for how often a label occurs in training, which a function of the score cannot know.

    log-odds(q) = a_g + b_g · log-odds(p)

with g the group of labels that about as many training texts have (Platt scaling in each group). A label of few
texts is true more often than another one with the same score, since classifiers of few positives give low scores.
The correction would change rankings, so it serves the tail knob alone, which weighs probabilities of rare labels
against those of frequent ones.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy.special import expit

from megalabel.models.mixture import log_odds

FIRST = (0, 1, 2, 3, 5, 9, 17, 33, 65, 129, 257)  # the smallest number of texts of each group
PRIOR = 20.0  # how strongly a group stays at a = 0, b = 1; in labels, each at probability one half for a
STEPS = 30


@dataclass(frozen=True, eq=False)
class FrequencyCorrection:
    """The tables of a correction.

    Attributes:
        frequencies: (g,) int64, the smallest number of training texts of the labels of each group, from 0 on.
        offsets, slopes: (g,) float64, a and b.
    """

    frequencies: np.ndarray
    offsets: np.ndarray
    slopes: np.ndarray

    @classmethod
    def fit(cls, p: np.ndarray, hit: np.ndarray, counts: np.ndarray) -> Self:
        """Fits all groups on labels of held-out texts; a group without any stays as it is.

        Args:
            p: (m,) their probabilities.
            hit: (m,) bool, whether a label is true.
            counts: (m,) how many of the texts that the model has learned have the label.
        """
        groups, x = _groups(np.asarray(FIRST), counts), log_odds(p, "probability")
        pairs = [_fitted(x[own], hit[own]) for own in (groups == group for group in range(len(FIRST)))]
        offsets, slopes = np.array(pairs).T
        return cls(np.asarray(FIRST, np.int64), offsets, slopes)

    def corrected(self, p: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Corrected probabilities, float64 of the shape of p; values that are not above 0 stay, such as -inf.

        Args:
            p: any shape, probabilities.
            counts: of the same shape, how many training texts have the label of each.
        """
        groups = _groups(self.frequencies, counts)
        z = self.offsets[groups] + self.slopes[groups] * log_odds(p, "probability")
        return np.where(p > 0, expit(z), p)

    def check(self) -> None:
        """ValueError for tables that no fit gives."""
        first, sizes = self.frequencies, {self.offsets.shape, self.slopes.shape, self.frequencies.shape}
        rising = first.ndim == 1 and len(first) and first[0] == 0 and (np.diff(first) > 0).all()
        if first.dtype != np.int64 or not rising or len(sizes) != 1:
            raise ValueError(f"frequencies {first} with tables of the shapes {sizes}")
        for values in (self.offsets, self.slopes):
            if values.dtype != np.float64 or not np.isfinite(values).all():
                raise ValueError(f"corrections {values}")


def _groups(first: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.maximum(np.searchsorted(first, counts, side="right") - 1, 0)


def _fitted(x: np.ndarray, true: np.ndarray) -> tuple[float, float]:
    """a and b of a logistic regression of true labels on x, drawn towards 0 and 1, by Newton's method."""
    a, b, of_a = 0.0, 1.0, PRIOR / 4
    for _ in range(STEPS):
        q = expit(a + b * x)
        weight, error = q * (1 - q), q - true
        slope = np.array([error.sum() + of_a * a, (error * x).sum() + PRIOR * (b - 1)])
        cross = float((weight * x).sum())
        curve = np.array([[weight.sum() + of_a, cross], [cross, (weight * x * x).sum() + PRIOR]])
        step_a, step_b = np.linalg.solve(curve, slope)
        a, b = a - float(step_a), b - float(step_b)
        if abs(step_a) + abs(step_b) < 1e-9:
            break
    return a, b
