"""What callers ask of a ranking beside k: probabilities, thresholds, label sets, a tail knob, chosen labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.catalog import propensity_constants
from megalabel.errors import SettingError
from megalabel.metrics.propensity import inverse_propensity
from megalabel.models.calibrated import DEPTH, Calibration
from megalabel.models.choosing import best
from megalabel.models.label_lists import Choice, Ranker
from megalabel.models.predictions import Predictions
from megalabel.models.scores import AskedKind, probabilities, probability_kind, score_kind
from megalabel.models.trained_on import TrainedOn
from megalabel.types import TopK

LABELS = 10  # per text
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
            the labels of an answer; their order and their scores stay.
    """

    k: int | None = None
    probabilities: bool | None = None
    threshold: float | None = None
    min_labels: int = 0
    precision: float | None = None
    coverage: float | None = None
    tail: float = 0.0

    def checked(self, model: Asking) -> Asked:
        """The same with a k; SettingError for values that do not fit each other or the model."""
        k = self.k if self.k is not None else LABELS if self.coverage is None else DEPTH
        asked = replace(self, k=model.reach(k))
        if self.probabilities or self.tail:
            probabilities(model, np.zeros(1, np.float32))
        _check_threshold(self, asked.kind(model))
        if not 0 <= self.min_labels <= k:
            raise SettingError.range("min_labels", self.min_labels, 0, k, integer=True)
        if self.min_labels and self.threshold is None and self.precision is None and self.coverage is None:
            raise SettingError(
                f"min_labels = {self.min_labels} without a threshold",
                wanted="a threshold too, since without one all k labels are returned",
                where="min_labels",
            )
        _check_tail(self, model)
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

    def kind(self, model: Asking) -> AskedKind:
        """What the scores of the answer are."""
        wanted = model.calibration is not None if self.probabilities is None else self.probabilities
        return probability_kind(model) if wanted else score_kind(model)


def answer(
    model: Asking, texts: Any, asked: Asked, choice: Choice, *, given: Any = None, batch_size: int = 256
) -> Predictions:
    """The answer for texts, or rows, which `check_texts` has checked; `asked` is a result of `Asked.checked`."""
    assert asked.k is not None
    deep = model.reach(max(asked.k, DEPTH)) if asked.tail else asked.k
    if given is None:
        ids, scores = best(model, texts, deep, choice, batch_size=batch_size).numpy()
    else:
        ids, scores = _completed(model, texts, deep, choice, given, batch_size).numpy()
    kind, least = asked.kind(model), asked.least(model)
    calibrated = least is not None or asked.tail > 0 or kind == probability_kind(model)
    p = _probabilities(model, scores, _changed(choice, given, len(ids))) if calibrated else scores
    shown = p if kind == probability_kind(model) else scores
    out = np.zeros(ids.shape, np.bool_)
    if least is not None:
        out |= p < least
    if asked.threshold is not None:
        out |= shown < asked.threshold
    out &= np.arange(ids.shape[1]) >= asked.min_labels
    ids = np.where(out, -1, ids)
    shown = np.where(ids < 0, np.float32(-np.inf), shown)
    if asked.tail:
        at = places(ids, p, inverse_propensities(model), asked.tail, asked.k)
        ids, shown = np.take_along_axis(ids, at, 1), np.take_along_axis(shown, at, 1)
    return Predictions(ids, shown, model.label_texts, kind)


def _completed(model: Asking, texts: Any, k: int, choice: Choice, given: Any, batch_size: int) -> TopK:
    if choice.allow is not None or choice.deny is not None:
        raise SettingError(
            "given labels with lists of labels that are allowed or denied",
            wanted="either given, or allow and deny",
            where="given",
        )
    return model.topk(texts, k, given=given, batch_size=batch_size)


def given_in(records: Sequence[Mapping[str, Any]]) -> list[list[Any]] | None:
    """The labels that records give under the key "given"; None where none gives a list of labels."""
    given = [own if isinstance(own := record.get("given"), list) else [] for record in records]
    return given if any(given) else None


def _changed(choice: Choice, given: Any, n: int) -> np.ndarray:
    """The texts whose ranks are not those among all labels, by allowed or given labels of their own: (N,) bool."""
    changed = np.full(n, choice.allow is not None)
    if isinstance(choice.allow, list):
        changed[:] = [labels is not None for labels in choice.allow]
    if given is not None:
        sizes = (given != 0).sum(axis=1) if sp.issparse(given) else [len(labels) for labels in given]
        changed |= np.asarray(sizes).ravel() > 0
    return changed


def _probabilities(model: Asking, scores: np.ndarray, changed: np.ndarray) -> np.ndarray:
    """The probabilities of scores (N, k), by score alone in the rows whose ranks changed."""
    p = probabilities(model, scores, ranked=not changed.all())
    if model.calibration is not None and changed.any() and not changed.all():
        p[changed] = probabilities(model, scores[changed], ranked=False)
    return p


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
    constants = propensity_constants(known.name)
    return inverse_propensity(
        known.counts, known.n_texts, constants[0] if a is None else a, constants[1] if b is None else b
    )


def places(ids: np.ndarray, p: np.ndarray, inverse: np.ndarray, tail: float, k: int) -> np.ndarray:
    """Where in a ranking the k labels with the largest p · (1/propensity)^tail are, in its order: (N, k) int64.

    So the labels of an answer are those that add most to a mean of P@k and PSP@k, and the most probable of them
    come first. Ties go to the earlier label.

    Args:
        ids, p: (N, K) labels, -1 for none, and their probabilities; K of at least k.
        inverse: (L,) inverse propensities.
        tail: from 0 to 1.
        k: labels per text.
    """
    gain = np.where(ids < 0, -np.inf, p.astype(np.float64) * inverse[np.maximum(ids, 0)] ** tail)
    return np.sort(np.argsort(-gain, axis=1, kind="stable")[:, :k], axis=1)


def _check_threshold(asked: Asked, kind: str) -> None:
    threshold = asked.threshold
    if threshold is not None and not (isinstance(threshold, (int, float, np.number)) and math.isfinite(threshold)):
        raise SettingError.range("threshold", threshold)
    if threshold is not None and threshold > 1 and kind in ("probability", "mixture", "calibrated"):
        raise SettingError(
            f"{threshold:g} is above all scores of this model, which are from 0 to 1",
            wanted="a number from 0 to 1",
            where="threshold",
        )


def _check_tail(asked: Asked, model: Asking) -> None:
    tail = asked.tail
    if isinstance(tail, bool) or not isinstance(tail, (int, float, np.number)) or not 0 <= tail <= 1:
        raise SettingError(f"tail = {tail!r}", wanted="a number from 0 to 1", where="tail")
    if not tail:
        return
    name = "precision" if asked.precision is not None else "coverage" if asked.coverage is not None else ""
    if name:
        raise SettingError(
            f"tail = {tail:g} with {name}, which holds for the order of the scores alone",
            wanted=f"either tail or {name}",
            where="tail",
        )
    inverse_propensities(model)
