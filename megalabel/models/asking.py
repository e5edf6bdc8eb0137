"""What callers ask of a ranking beside k: probabilities, thresholds, label sets, rare labels, ancestors."""

from __future__ import annotations

import sys
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from megalabel.data.label_metadata import LabelMetadata
from megalabel.errors import SettingError
from megalabel.labels.ancestors import Ancestors, check_ancestors
from megalabel.models.calibrated import DEPTH, Calibration
from megalabel.models.label_lists import Ranker
from megalabel.models.scores import AskedKind, probabilities, probability_kind, score_kind
from megalabel.models.trained_on import TrainedOn

Tail = float | Literal["auto"]

LABELS = 10  # per text
LARGEST = sys.float_info.max  # a threshold
NOT_CALIBRATED = "calibrate the model on labeled texts that it has not learned (`megalabel calibrate RUN DATA`)"


class Asking(Ranker):
    """The part of a `Classifier` that answers need, beside what ranks some labels alone."""

    calibration: Calibration | None = None
    trained_on: TrainedOn | None = None
    chosen: dict[str, Any] | None = None  # options that the recipe chose from the data


@dataclass(frozen=True)
class Asked:
    """What is asked of the rankings of a model.

    Attributes:
        k: labels per text; None for 10, or with `coverage` for all labels of the set.
        probabilities: whether scores are turned into probabilities; None: where the model is calibrated.
        threshold: the least score of a label, on the scale of the answer.
        min_labels: the best labels that stay whatever their scores.
        precision: labels below the score that reaches this precision on held-out texts are left out.
        coverage: the labels of a set with this expected recall.
        tail: from 0 to 1, the power of the inverse propensities by which probabilities are multiplied to choose
            the labels of an answer; their order and their scores stay. "auto": what held-out texts chose.
        ancestors: what becomes of labels above others in the taxonomy; see `labels.ancestors`. None: nothing.
        language: the language of the names, where labels have one there.
    """

    k: int | None = None
    probabilities: bool | None = None
    threshold: float | None = None
    min_labels: int = 0
    precision: float | None = None
    coverage: float | None = None
    tail: Tail = 0.0
    ancestors: Ancestors | None = None
    language: str | None = None

    def checked(self, model: Asking) -> Asked:
        """The same with a k; SettingError for values that do not fit each other or the model."""
        k = self.k if self.k is not None else LABELS if self.coverage is None else DEPTH
        asked = replace(self, k=model.reach(k))
        if self.probabilities is not None and not isinstance(self.probabilities, (bool, np.bool_)):
            raise SettingError(
                f"probabilities = {self.probabilities!r:.80}", wanted="True, False or None", where="probabilities"
            )
        _check_tail(self, model)
        if self.probabilities or self.power(model):
            probabilities(model, np.zeros(1, np.float32))
        _check_threshold(self, asked.kind(model))
        n = self.min_labels
        if isinstance(n, (bool, np.bool_)) or not isinstance(n, (int, np.integer)) or not 0 <= n <= k:
            raise SettingError.range("min_labels", n, 0, k, integer=True)
        if self.min_labels and self.threshold is None and self.precision is None and self.coverage is None:
            raise SettingError(
                f"min_labels = {self.min_labels} without a threshold",
                wanted="a threshold too, since without one all k labels are returned",
                where="min_labels",
            )
        _check_metadata(self, model)
        if self.coverage is not None and self.precision is not None:
            raise SettingError(
                "both precision and coverage", wanted="one of them, since each sets a threshold", where="coverage"
            )
        if self.coverage is not None and self.k is not None:
            raise SettingError(
                f"coverage with k = {self.k}, which would cut sets off",
                wanted="coverage alone; sets have at most as many labels as it was fitted for",
                where="k",
            )
        asked.least(model)
        deepest = DEPTH if model.calibration is None else model.calibration.depth
        return asked if self.coverage is None else replace(asked, k=model.reach(deepest))

    def least(self, model: Asking) -> float | None:
        """The least probability by precision or coverage; None where neither is asked for."""
        if self.precision is None and self.coverage is None:
            return None
        name = "precision" if self.coverage is None else "coverage"
        if model.calibration is None:
            raise SettingError(
                f"{name} of a model that is not calibrated",
                wanted="a calibrated model",
                next_step=NOT_CALIBRATED,
                where=name,
            )
        if self.coverage is not None:
            return model.calibration.for_coverage(self.coverage)
        assert self.precision is not None
        return model.calibration.for_precision(self.precision)

    def power(self, model: Asking) -> float:
        """`tail` as a number. SettingError: held-out texts were to choose it, and the model has no such choice."""
        if self.tail != "auto":
            return self.tail
        found = None if model.calibration is None else model.calibration.tail
        if found is None:
            raise SettingError(
                'tail = "auto" of a model for which no held-out texts have chosen it',
                wanted="a number from 0 to 1, or a model that this version has calibrated",
                next_step=NOT_CALIBRATED,
                where="tail",
            )
        return found

    def kind(self, model: Asking) -> AskedKind:
        """What the scores of the answer are."""
        wanted = model.calibration is not None if self.probabilities is None else self.probabilities
        return probability_kind(model) if wanted else score_kind(model)


def inverse_propensities(model: Asking, a: float | None = None, b: float | None = None) -> np.ndarray:
    """1/p of each label by how often the training texts of a model have it: (L,) float64.

    Raises:
        SettingError: the model does not know, or it had fewer than 3 training texts.
    """
    known = model.trained_on
    if known is None or known.n_texts < 3:
        raise SettingError(
            "a model that does not know how often its training texts have each label",
            wanted="a model that keeps the counts, trained on 3 texts or more",
            next_step="train it again with this version",
            where="tail",
        )
    return known.inverse_propensities(a, b)


def _check_metadata(asked: Asked, model: Asking) -> None:
    known = model.metadata or LabelMetadata(len(model.label_texts))
    if asked.language is not None:
        known.names_in(asked.language, model.label_texts)
    if asked.ancestors is None:
        return
    check_ancestors(asked.ancestors)
    if known.taxonomy is None:
        raise SettingError(
            "ancestors of a model without a taxonomy",
            wanted="a model that knows which labels are broader than others",
            next_step="write one with `megalabel labels RUN --taxonomy FILE -o OUT`",
            where="ancestors",
        )
    others = {"precision": asked.precision, "coverage": asked.coverage, "tail": asked.tail}
    name = next((name for name, value in others.items() if value), None)
    if name is not None:
        raise SettingError(
            f"ancestors with {name}, which holds for the labels of the ranking alone",
            wanted=f"either ancestors or {name}",
            where="ancestors",
        )


def _check_threshold(asked: Asked, kind: str) -> None:
    threshold = asked.threshold
    number = isinstance(threshold, (int, float, np.number)) and not isinstance(threshold, bool)
    if threshold is not None and not (number and abs(threshold) <= LARGEST):
        raise SettingError.range("threshold", threshold)
    if threshold is not None and threshold > 1 and kind in ("probability", "mixture", "calibrated"):
        raise SettingError(
            f"{threshold:g} is above all scores of this model, which are from 0 to 1",
            wanted="a number from 0 to 1",
            where="threshold",
        )


def _check_tail(asked: Asked, model: Asking) -> None:
    tail = asked.tail
    number = isinstance(tail, (int, float, np.number)) and not isinstance(tail, bool)
    if tail != "auto" and not (number and 0 <= tail <= 1):
        raise SettingError(f"tail = {tail!r:.80}", wanted='a number from 0 to 1, or "auto"', where="tail")
    if tail == 0:
        return
    name = "precision" if asked.precision is not None else "coverage" if asked.coverage is not None else ""
    if name:
        raise SettingError(
            f"tail = {tail} with {name}, which holds for the order of the scores alone",
            wanted=f"either tail or {name}",
            where="tail",
        )
    inverse_propensities(model)
