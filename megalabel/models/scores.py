"""What the scores of a model are, and the probabilities that they stand for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from megalabel.errors import SettingError

if TYPE_CHECKING:
    from megalabel.models.base import Classifier

# What the score of a label is, as answers say it:
#   probability  from 0 to 1
#   logit        log-odds of a label, of a model trained with binary cross-entropy; or the logits of a softmax
#   margin       the output of a squared hinge: above 0 for a label that applies
#   mixture      the weighted mean of the square roots of calibrated probabilities, from 0 to 1
ScoreKind = Literal["probability", "logit", "margin", "mixture"]


def score_kind(model: Classifier) -> ScoreKind:
    """The kind of the scores of a model."""
    if model.loss_name == "mixture":
        return "mixture"
    margins = model.score_type == "logit" and model.loss_name in ("squared_hinge", "mixed")
    return "margin" if margins else model.score_type


def probabilities(model: Classifier, scores: np.ndarray) -> np.ndarray:
    """Scores of a model as probabilities, which keep their order.

    Args:
        model: the model.
        scores: float32 of any shape, as `topk` returns them; -inf, where there is no label, becomes 0 or stays.

    Returns:
        float32 of the same shape: probabilities as they are, the sigmoid of log-odds, the square of a mixture.

    Raises:
        SettingError: margins, or logits of another loss than binary cross-entropy, which no fixed map turns into
            probabilities.
    """
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
        next_step="build a hybrid on its run (`megalabel train hybrid RUN`) or merge it with another "
        "(`megalabel ensemble`), which calibrates, or leave probabilities out",
        where="probabilities",
    )
