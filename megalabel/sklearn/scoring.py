"""Scorers for `GridSearchCV` and `cross_val_score`: the ranking metrics of megalabel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.ranking import measure
from megalabel.sklearn.classifier import LabelClassifier
from megalabel.sklearn.inputs import as_value_errors
from megalabel.sklearn.targets import read_targets
from megalabel.training.selection import check as check_metric

Scorer = Callable[[Any, Any, Any], float]


def make_xmc_scorer(metric: str = "P@1", *, a: float = 0.55, b: float = 1.5) -> Scorer:
    """A scorer that returns a ranking metric in percent, larger is better.

    Args:
        metric: P@k, nDCG@k, PSP@k, PSnDCG@k or R@k, such as "PSP@5".
        a, b: the constants of the propensity model, which PSP and PSnDCG use with the label counts of the training
            texts of the estimator.

    Returns:
        A function of a fitted `LabelClassifier`, or a Pipeline that ends with one, and of X and y.

    Raises:
        SettingError: there is no such metric.
    """
    check_metric(metric, "metric")
    return _Scorer(metric, a, b)


class _Scorer:
    """A class and no closure, so that it can be pickled for other processes."""

    def __init__(self, metric: str, a: float, b: float) -> None:
        self.metric, self.a, self.b = metric, a, b

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        if isinstance(estimator, Pipeline):
            X, estimator = estimator[:-1].transform(X) if len(estimator) > 1 else X, estimator[-1]
        if not isinstance(estimator, LabelClassifier):
            raise TypeError(
                f"a {type(estimator).__name__}; expected a LabelClassifier, or a Pipeline that ends with one"
            )
        name, k = self.metric.split("@")[0], int(self.metric.split("@")[1])
        top = estimator.decision_topk(X, k)
        gains = None
        with as_value_errors():
            if name.startswith("PS"):
                counts = np.asarray(estimator.label_counts_)
                gains = inverse_propensity(counts, estimator.n_texts_, self.a, self.b)
            truth = read_targets(y, estimator.classes_).labels
            return measure(top, truth, k=k, inverse_propensity=gains, which=[name])[self.metric]

    def __repr__(self) -> str:
        return f"make_xmc_scorer({self.metric!r})"
