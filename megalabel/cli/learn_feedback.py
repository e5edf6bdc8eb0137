"""The part of `megalabel update` that learns feedback, as `megalabel serve` stores it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from megalabel.errors import DataError

if TYPE_CHECKING:
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
    if adds:
        examples: dict[str, list[str]] = {}
        for one in said:
            for name in one.labels:
                if name not in ids:
                    examples.setdefault(name, []).append(one.text)
        if examples:
            ids.update((name, len(model.label_texts) + i) for i, name in enumerate(examples))
            model = model.with_labels(examples, texts=[one.text for one in said])
    right, wrong = ([[ids[name] for name in own if name in ids] for own in part]
                    for part in ([one.labels for one in said], [one.rejected for one in said]))  # fmt: skip
    model.partial_fit([one.text for one in said], right, rejected=wrong)
    n_texts, n_wrong, n_unknown = (
        sum(map(bool, right)),
        sum(map(len, wrong)),
        sum(name not in ids for name in names),
    )
    told = f"learned {n_texts:,} texts of {path.name}"
    if n_wrong and learns_rejected(model):
        told += f", and {n_wrong:,} rejected labels"
    elif n_wrong:
        told += (
            f"; its {n_wrong:,} rejected labels count only beside right ones, since the model has no linear trees"
        )
    return model, told + (f"; left out {n_unknown:,} names that the model lacks" if n_unknown else "")
