"""Merges several rankings of the same texts, each calibrated on held-out texts, by weights.

    score[l] = Σ_i weight_i · √ sigmoid(slope_i · z_i[l] + offset_i),   0 for a ranking without label l

z are log-odds: logits, or ln p − ln(1 − p) of probabilities. Slope and offset are a logistic fit to whether the
predicted labels are true (Platt, "Probabilistic outputs for support vector machines", 1999, with his targets). The
root lies between a mean of probabilities and one of their logarithms, and did as well as either or better on
validation splits (docs/log.md).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
from scipy.optimize import minimize

from megalabel.errors import SettingError
from megalabel.kernels.sparse.merge_topk import merge_topk
from megalabel.metrics.ranking import measure
from megalabel.metrics.topk import checked_arrays
from megalabel.types import ScoreType, TopK

DEPTH = 50  # minimum number of labels of each ranking that are merged
LEAST = 1e-12  # probabilities are clipped here
STEP, GAIN = 0.1, 0.2  # shift of a weight, and the points of the metric that it must gain
SELECT = "nDCG@5"
FLAT = 1e-3  # minimum slope for standardized scores, so that every ranking keeps its order


@dataclass(frozen=True)
class Mixture:
    """The calibrations and weights of n rankings.

    slopes, offsets, weights: n finite numbers each; weights are 0 or more and sum to 1.
    """

    slopes: tuple[float, ...]
    offsets: tuple[float, ...]
    weights: tuple[float, ...]

    def __post_init__(self) -> None:
        n = len(self.weights)
        numbers = (*self.slopes, *self.offsets, *self.weights)
        fine = all(math.isfinite(v) for v in numbers) and len(numbers) == 3 * n and len(self.slopes) == n
        if not fine or n == 0 or min(self.weights) < 0 or not math.isclose(sum(self.weights), 1, abs_tol=1e-6):
            raise SettingError(
                f"slopes {self.slopes}, offsets {self.offsets}, weights {self.weights}",
                wanted="equally many finite numbers; weights of at least 0 that sum to 1",
                where="weights",
            )

    @classmethod
    def from_weights(cls, weights: Sequence[float]) -> Self:
        """A mixture of uncalibrated scores with these weights, which are rescaled to sum to 1.

        Raises:
            SettingError: no weights, negative or infinite ones, or all are 0.
        """
        try:
            given = [] if isinstance(weights, str) else [float(w) for w in weights]
        except (TypeError, ValueError):
            given = []
        if not given or not all(0 <= w < math.inf for w in given) or sum(given) == 0:
            raise SettingError(
                f"weights {weights}",
                wanted="a list of numbers, one of at least 0 per ranking, not all 0",
                where="weights",
            )
        shares = tuple(w / sum(given) for w in given)
        return cls((1.0,) * len(given), (0.0,) * len(given), shares)

    @classmethod
    def fit(
        cls,
        found: Sequence[TopK],
        score_types: Sequence[ScoreType],
        labels: sp.csr_matrix,
        weights: Sequence[float] = (),
    ) -> Self:
        """Calibrates each ranking, then shifts equal weights as long as that improves nDCG@5.

        Args:
            found: rankings of the same N held-out texts, (N, k_i).
            score_types: the type of the scores of each ranking.
            labels: (N, L) CSR, above 0 where a text has a label.
            weights: weights to use instead of fitted ones.

        Raises:
            SettingError: rankings of different texts or labels, no rankings, no text with a label, or another
                number of weights.
            DataError: NaN among the scores.
        """
        if labels.shape[0] == 0 or labels.nnz == 0:
            raise SettingError(
                f"{labels.shape[0]} held-out texts with {labels.nnz} labels",
                wanted="held-out texts with labels",
                next_step="hold out a larger fraction of the texts, or give weights",
                where="validation",
            )
        given = len(weights) > 0
        shares = cls.from_weights(weights if given else [1.0] * len(found)).weights
        _check_same(found, score_types, len(shares), labels.shape)
        lines = [_calibrated(top, kind, labels) for top, kind in zip(found, score_types, strict=True)]
        slopes, offsets = zip(*lines, strict=True)
        mixture = cls(slopes, offsets, shares)
        return mixture if given else mixture._moved(found, score_types, labels)

    def merge(self, found: Sequence[TopK], score_types: Sequence[ScoreType], k: int) -> TopK:
        """The k best labels of the merged rankings, scores from 0 to 1.

        Raises:
            SettingError: the number of rankings is not the number of weights.
            DataError: NaN among the scores.
        """
        if not len(found) == len(score_types) == len(self.weights):
            raise SettingError(
                f"{len(found)} rankings of {len(score_types)} kinds of scores",
                wanted=f"{len(self.weights)}, as many as there are weights",
                next_step="merge the rankings of the models on which it was fitted",
            )
        lines = zip(found, score_types, self.slopes, self.offsets, strict=True)
        return merge_topk([_roots(*line) for line in lines], k, self.weights)

    def config(self) -> dict[str, Any]:
        """The numbers, as JSON."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Self:
        """The mixture that `config` describes."""
        return cls(**{name: tuple(values) for name, values in config.items()})

    def _moved(self, found: Sequence[TopK], score_types: Sequence[ScoreType], labels: sp.csr_matrix) -> Self:
        lines = zip(found, score_types, self.slopes, self.offsets, strict=True)
        roots = [_roots(*line) for line in lines]

        def reached(weights: np.ndarray) -> float:
            return measure(merge_topk(roots, 5, list(weights)), labels, k=(5,))[SELECT]

        best, weights = reached(np.array(self.weights)), np.array(self.weights)
        moves = [(i, j) for i in range(len(roots)) for j in range(len(roots)) if i != j]
        while moves:
            tried = []
            for i, j in moves:
                new = weights.copy()
                step = min(STEP, weights[i])
                new[i], new[j] = weights[i] - step, weights[j] + step
                tried.append((reached(new), new))
            score, new = max(tried, key=lambda pair: pair[0])
            if score < best + GAIN:
                break
            best, weights = score, new
        return type(self)(self.slopes, self.offsets, tuple(float(w) for w in weights / weights.sum()))


def _check_same(
    found: Sequence[TopK], score_types: Sequence[ScoreType], n_weights: int, shape: tuple[int, int]
) -> None:
    """Raises SettingError unless the rankings are of the same texts and labels, with a type and a weight each."""
    tops = [checked_arrays(top)[0] for top in found]
    sizes = sorted({len(ids) for ids in tops})
    highest = max((int(ids.max(initial=-1)) for ids in tops), default=-1)
    counts = {len(found), len(score_types), n_weights}
    if len(counts) != 1 or sizes != [shape[0]] or highest >= shape[1]:
        raise SettingError(
            f"{len(found)} rankings of {' and '.join(map(str, sizes)) or 'no'} texts, labels up to {highest}, "
            f"{len(score_types)} kinds of scores, {n_weights} weights",
            wanted=f"a kind and a weight for each ranking, of {shape[0]} texts, labels below {shape[1]}",
            next_step="rank the held-out texts with every model",
        )


def _calibrated(top: TopK, score_type: ScoreType, labels: sp.csr_matrix) -> tuple[float, float]:
    """Slope and offset of the logistic fit of the probability that a label is true."""
    ids, scores = checked_arrays(top)
    there = (ids >= 0) & np.isfinite(scores)
    if not there.any():
        return 1.0, 0.0
    z = log_odds(scores[there], score_type)
    middle, spread = float(z.mean()), float(z.std())
    if spread < 1e-6 * (1 + abs(middle)):  # all equal up to rounding
        spread = 1.0
    z = (z - middle) / spread  # standardized, so that the fit does not depend on their scale
    rows = np.repeat(np.arange(len(ids)), ids.shape[1]).reshape(ids.shape)[there]
    true = np.asarray(labels.tocsr()[rows, ids[there]]).ravel() > 0
    n_true, n_false = int(true.sum()), int((~true).sum())
    target = np.where(true, (n_true + 1) / (n_true + 2), 1 / (n_false + 2))

    def loss(line: np.ndarray) -> tuple[float, np.ndarray]:
        s = line[0] * z + line[1]
        error = 1 / (1 + np.exp(-np.clip(s, -500, 500))) - target
        return float(np.logaddexp(0, s).sum() - target @ s), np.array([error @ z, error.sum()])

    bounds = [(FLAT, None), (None, None)]
    slope, offset = minimize(loss, np.array([1.0, 0.0]), jac=True, method="L-BFGS-B", bounds=bounds).x
    return float(slope / spread), float(offset - slope * middle / spread)


def log_odds(scores: np.ndarray, score_type: ScoreType) -> np.ndarray:
    """Logits as they are, and ln p − ln(1 − p) of probabilities, clipped at 1e-12: float64."""
    values: np.ndarray = scores.astype(float)
    if score_type == "logit":
        return values
    p = np.clip(values, LEAST, 1 - LEAST)
    odds: np.ndarray = np.log(p) - np.log1p(-p)
    return odds


def _roots(top: TopK, score_type: ScoreType, slope: float, offset: float) -> TopK:
    ids, scores = checked_arrays(top)
    z = np.clip(slope * log_odds(np.where(ids < 0, 0, scores), score_type) + offset, -500, 500)
    return TopK(ids, np.where(ids < 0, -np.inf, 1 / np.sqrt(1 + np.exp(-z))).astype(np.float32))
