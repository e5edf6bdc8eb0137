"""Explains a label of a text: the result of `Classifier.explain`, by the kind of the model."""

from __future__ import annotations

from dataclasses import replace
from functools import singledispatch
from typing import Any

import numpy as np

from megalabel.errors import SettingError, of_type
from megalabel.inputs.spans import on_words, words_of
from megalabel.models.base import Classifier
from megalabel.models.explanation import Explanation, Word
from megalabel.models.label_ids import ids_of
from megalabel.models.text_list import as_texts

RANKED = 1000  # labels among which the rank of the label is looked up


def explain(model: Classifier, text: Any, label: str | int | None = None) -> Explanation:
    """The result of `Classifier.explain`, whose arguments and errors these are."""
    line = _one_text(model, text)
    if isinstance(line, str):
        as_texts([line])
    rows = [line] if isinstance(line, str) else line
    k = min(RANKED, len(model.label_texts))
    ids, scores = model.topk(rows, k).numpy()
    if label is None and ids[0, 0] < 0:
        raise SettingError("a text for which no label is found", wanted="the name or id of a label", where="label")
    chosen = int(ids[0, 0]) if label is None else int(ids_of(model.label_texts, [label], model.metadata)[0])
    place = np.flatnonzero(ids[0] == chosen)
    found = explained(model, line, chosen)
    rank, score = (int(place[0]) + 1, float(scores[0, place[0]])) if len(place) else (None, None)
    return replace(found, rank=rank, score=score, n_ranked=k)


@singledispatch
def explained(model: Classifier, line: Any, label: int) -> Explanation:
    """The explanation of a checked text without the place of the label; registered for each kind of model."""
    raise SettingError(
        f"explain of a {type(model).__name__}",
        wanted="a linear, neural, hybrid, retrieval or ensemble model",
        next_step="explain the model inside of it, base_model" if hasattr(model, "base_model") else None,
        where="model",
    )


def _one_text(model: Classifier, text: Any) -> Any:
    """The text, or the row of a model over bags of words, after a check."""
    if model.n_features is not None:
        row = model.check_texts(text)
        if row.shape[0] != 1:
            raise SettingError(f"{row.shape[0]} rows", wanted="one row of features", where="text")
        return row
    if not isinstance(text, str):
        raise SettingError(f"{of_type(text)} as text", wanted="one string", where="text")
    return text


def words_with(line: str, spans: np.ndarray, values: np.ndarray) -> tuple[tuple[Word, ...], float]:
    """The words of a text with the sum of the values of the parts (m, 2) in each, and the rest."""
    words = words_of(line)
    sums, rest = on_words(words, spans, values)
    at = words.tolist()
    return tuple(
        Word(start, end, line[start:end], value) for (start, end), value in zip(at, sums.tolist(), strict=True)
    ), rest
