"""Scores of the answers of `predict --tail auto` on the test texts of a data set."""

from __future__ import annotations

from megalabel.data.corpus import Corpus
from megalabel.inference.tail import tail_curve
from megalabel.metrics.table import METRICS
from megalabel.models.base import Classifier


def at_chosen_tail(model: Classifier, corpus: Corpus) -> dict[str, float]:
    """The value that held-out texts chose, as "tail", and the metrics of the five labels, as "tail P@1" and so on.

    Nothing for a model that has not chosen one.
    """
    if model.calibration is None or model.calibration.tail is None:
        return {}
    ((tail, found),) = tail_curve(model, corpus, k=(1, 3, 5), tails=[model.calibration.tail])
    return {"tail": tail} | {f"tail {metric}": found[metric] for metric in METRICS}
