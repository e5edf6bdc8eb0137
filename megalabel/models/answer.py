"""The answer of a model for some texts: its ranking, cut off, among some labels, or with their ancestors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.labels.ancestors import with_ancestors
from megalabel.models.asking import Asked, Asking, inverse_propensities
from megalabel.models.calibrated import DEPTH
from megalabel.models.choosing import best
from megalabel.models.label_lists import Choice
from megalabel.models.predictions import Predictions
from megalabel.models.scores import probabilities, probability_kind
from megalabel.models.tail import places
from megalabel.types import TopK


def answer(
    model: Asking, texts: Any, asked: Asked, choice: Choice, *, given: Any = None, batch_size: int = 256
) -> Predictions:
    """The answer for texts, or rows, which `check_texts` has checked; `asked` is a result of `Asked.checked`."""
    assert asked.k is not None
    tail = asked.power(model)
    deep = model.reach(max(asked.k, DEPTH)) if tail else asked.k
    if given is not None and asked.ancestors is not None:
        raise SettingError("ancestors with given labels", wanted="either ancestors or given", where="ancestors")
    if given is None:
        ids, scores = best(model, texts, deep, choice, batch_size=batch_size).numpy()
    else:
        ids, scores = _completed(model, texts, deep, choice, given, batch_size).numpy()
    kind, least = asked.kind(model), asked.least(model)
    calibrated = least is not None or tail > 0 or kind == probability_kind(model)
    p = _probabilities(model, scores, _changed(choice, given, len(ids))) if calibrated else scores
    shown = p if kind == probability_kind(model) else scores
    taxonomy = None if model.metadata is None else model.metadata.taxonomy
    if asked.ancestors in ("raise", "add") and taxonomy is not None:
        left_out = _left_out(choice, len(taxonomy)) if asked.ancestors == "add" else None
        ids, shown = with_ancestors(ids, shown, taxonomy, asked.ancestors, left_out)
    out = np.zeros(ids.shape, np.bool_)
    if least is not None:
        out |= p < least
    if asked.threshold is not None:
        out |= shown < asked.threshold
    out &= np.arange(ids.shape[1]) >= asked.min_labels
    ids = np.where(out, -1, ids)
    shown = np.where(ids < 0, np.float32(-np.inf), shown)
    if tail:
        at = places(ids, for_tail(model, ids, p), inverse_propensities(model), tail, asked.k)
        ids, shown = np.take_along_axis(ids, at, 1), np.take_along_axis(shown, at, 1)
    if asked.ancestors == "collapse" and taxonomy is not None:
        ids, shown = with_ancestors(ids, shown, taxonomy, "collapse")
    found = Predictions(ids, shown, model.label_texts, kind, metadata=model.metadata)
    return found if asked.language is None else found.in_language(asked.language)


def _left_out(choice: Choice, n_labels: int) -> np.ndarray:
    """The labels that are not added as ancestors, since they are denied or not allowed: (L,) bool."""
    if isinstance(choice.allow, list) or isinstance(choice.deny, list):
        raise SettingError(
            'ancestors = "add" with lists of labels for each text',
            wanted="lists for all texts",
            next_step='predict without ancestors, or with "raise" or "collapse"',
            where="ancestors",
        )
    found = np.full(n_labels, choice.allow is not None)
    found[[] if choice.allow is None else choice.allow] = False
    found[[] if choice.deny is None else choice.deny] = True
    return found


def _completed(model: Asking, texts: Any, k: int, choice: Choice, given: Any, batch_size: int) -> TopK:
    if choice.allow is not None or choice.deny is not None:
        raise SettingError(
            "given labels with lists of labels that are allowed or denied",
            wanted="either given, or allow and deny",
            where="given",
        )
    return model.topk(texts, k, given=given, batch_size=batch_size)


def given_in(records: Sequence[Mapping[str, Any]]) -> list[list[Any]] | None:
    """The labels that records give under the key "given", None for none; None where none gives any.

    Raises:
        DataError: something else than a list, which would be left out silently.
    """
    given = [[] if record.get("given") is None else record["given"] for record in records]
    for own in given:
        if not isinstance(own, (list, tuple, set, frozenset)):
            raise DataError(
                f"{own!r:.80} under 'given'",
                wanted="a list of the labels that the text is known to have",
                next_step="give a list in JSON lines, or another name to a field that means something else",
                where="given",
            )
    return [list(own) for own in given] if any(given) else None


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


def for_tail(model: Asking, ids: np.ndarray, p: np.ndarray) -> np.ndarray:
    """The probabilities by which the tail knob chooses: those of an answer, corrected for how rare a label is.

    Args:
        model: a model that knows how often its training texts have each label.
        ids, p: (N, K) labels, -1 for none, and their probabilities.

    Returns:
        (N, K) floats; p itself where the calibration has no correction.
    """
    correction = None if model.calibration is None else model.calibration.by_frequency
    if correction is None or model.trained_on is None:
        return p
    return correction.corrected(p, model.trained_on.counts[np.maximum(ids, 0)])
