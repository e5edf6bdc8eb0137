"""The part of `megalabel update` that learns feedback, as `megalabel serve` stores it."""

from __future__ import annotations

from collections.abc import Container, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from megalabel.errors import DataError

if TYPE_CHECKING:
    from megalabel.data.feedback import Judged
    from megalabel.models.base import Classifier


def learn_feedback(model: Classifier, path: Path, adds: bool) -> tuple[Classifier, str]:
    """The model that has learned feedback, and what it has learned.

    Args:
        model: a model that reads texts.
        path: JSON lines as `data.feedback` reads them.
        adds: whether labels that the model lacks are added by their texts.

    Raises:
        DataError: no label of the feedback is one of the model; a line has other values.
    """
    from megalabel.data.feedback import read_feedback
    from megalabel.display import counted
    from megalabel.models.rejecting import learns_rejected

    said, ids = read_feedback(path), dict[str, int]()
    for i, name in enumerate(model.label_texts):
        ids.setdefault(name, i)
    names = [name for one in said for name in (*one.labels, *one.rejected)]
    if not any(name in ids for name in names):
        raise DataError(
            f"no label of this feedback is one of the model, whose first is {model.label_texts[0]!r:.80}",
            wanted="feedback on this model",
            next_step="compare the names with `megalabel labels RUN`",
            where=path,
        )
    examples = _examples(said, ids) if adds else {}
    if examples:
        ids.update((name, len(model.label_texts) + i) for i, name in enumerate(examples))
        model = model.with_labels(examples, texts=[one.text for one in said])
    right, wrong = ([[ids[name] for name in own if name in ids] for own in part]
                    for part in ([one.labels for one in said], [one.rejected for one in said]))  # fmt: skip
    n_texts, n_wrong, learns = sum(map(bool, right)), sum(map(len, wrong)), learns_rejected(model)
    if not n_texts and not learns:
        raise DataError(
            "no text of this feedback has a right label",
            wanted="right labels, beside which a model without linear trees learns rejected ones",
            next_step="update a linear model or a hybrid",
            where=path,
        )
    model.partial_fit([one.text for one in said], right, rejected=wrong)
    told = f"learned {counted(n_texts, 'text')} of {path.name}"
    if n_wrong and learns:
        told += f", and {counted(n_wrong, 'rejected label')}"
    elif n_wrong:
        told += "; rejected labels count only beside right ones, since the model has no linear trees"
    n_unknown = sum(name not in ids for name in names)
    return model, told + (f"; left out {counted(n_unknown, 'name')} that the model lacks" if n_unknown else "")


def _examples(said: Sequence[Judged], known: Container[str]) -> dict[str, list[str]]:
    """The texts of the labels that are right and not known."""
    found: dict[str, list[str]] = {}
    for one in said:
        for name in one.labels:
            if name not in known:
                found.setdefault(name, []).append(one.text)
    return found
