"""What the scores of a model are, and the probabilities that they stand for."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np

from megalabel.errors import SettingError
from megalabel.models.calibrated import Calibration
from megalabel.types import ScoreType

# What the score of a label is, as answers say it:
#   probability  from 0 to 1
#   logit        log-odds of a label, of a model trained with binary cross-entropy; or the logits of a softmax
#   margin       the output of a squared hinge: above 0 for a label that applies
#   mixture      the weighted mean of the square roots of calibrated probabilities, from 0 to 1
# and, where it is asked for:
#   calibrated   the share of labels with this score that are true, by held-out texts; from 0 to 1
ScoreKind = Literal["probability", "logit", "margin", "mixture"]
AskedKind = Literal["probability", "logit", "margin", "mixture", "calibrated"]


class Scored(Protocol):
    """What has to be known of a model, such as any `Classifier`."""

    score_type: ScoreType
    loss_name: str
    calibration: Calibration | None


def score_kind(model: Scored) -> ScoreKind:
    """The kind of the scores of a model."""
    if model.loss_name == "mixture":
        return "mixture"
    margins = model.score_type == "logit" and model.loss_name in ("squared_hinge", "mixed")
    return "margin" if margins else model.score_type


def probability_kind(model: Scored) -> AskedKind:
    """What `probabilities` makes of the scores of a model: "calibrated" where it is calibrated."""
    return "probability" if model.calibration is None else "calibrated"


def probabilities(model: Scored, scores: np.ndarray, *, ranked: bool = True) -> np.ndarray:
    """Scores of a model as probabilities, which keep their order.

    Args:
        model: the model.
        scores: float32 (…, k), as `topk` returns them, best first; -inf, for no label, becomes 0 or stays.
        ranked: whether they are the best of all labels; False where some labels alone are ranked.

    Returns:
        float32 of the same shape: calibrated ones where the model is calibrated; else probabilities as they are,
        the sigmoid of log-odds, the square of a mixture.

    Raises:
        SettingError: margins, or logits of another loss than binary cross-entropy, which no fixed map turns into
            probabilities, of a model that is not calibrated.
    """
    if model.calibration is not None:
        return model.calibration.probability(scores, ranked=ranked)
    kind = score_kind(model)
    if kind == "probability":
        return scores
    if kind == "mixture":
        return np.where(np.isfinite(scores), np.square(scores), scores)
    if kind == "logit" and model.loss_name == "bce":
        with np.errstate(over="ignore"):
            found: np.ndarray = (1 / (1 + np.exp(-scores.astype(np.float64)))).astype(np.float32)
        return found
    what = "margins of a squared hinge" if kind == "margin" else f"the logits of a {model.loss_name}"
    raise SettingError(
        f"the scores of this model are {what}",
        wanted="probabilities, or logits of binary cross-entropy",
        next_step="calibrate the model on labeled texts that it has not learned (`megalabel calibrate RUN DATA`), "
        "or leave probabilities out",
        where="probabilities",
    )
