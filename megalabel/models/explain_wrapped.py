"""Explains labels of models that change the set of labels of another one."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from megalabel.errors import SettingError
from megalabel.models.explain import explained
from megalabel.models.explanation import Explanation
from megalabel.models.extended import ExtendedClassifier
from megalabel.models.relabeled import RelabeledClassifier


@explained.register
def _(model: RelabeledClassifier, line: Any, label: int) -> Explanation:
    """That of the label below; of merged labels, of the one with the highest value."""
    members = np.flatnonzero(model.target == label).tolist()
    found = [explained(model.base_model, line, member) for member in members]
    best = max(found, key=lambda one: one.value)
    return replace(best, label=label, name=model.label_texts[label])


@explained.register
def _(model: ExtendedClassifier, line: Any, label: int) -> Explanation:
    """That of a label that was trained."""
    if label >= len(model.base_model.label_texts):
        raise SettingError(
            f"explain for the label {model.label_texts[label]!r:.80}, which was added by its texts",
            wanted="a label that the model was trained on",
            where="label",
        )
    return explained(model.base_model, line, label)
