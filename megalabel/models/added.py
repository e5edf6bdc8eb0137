"""Adds labels to a classifier: checks their names, and makes their scorers and their metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence, Set
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.further_metadata import extended
from megalabel.data.label_lookup import some
from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.metadata_records import metadata_of
from megalabel.data.texts import Texts
from megalabel.errors import DataError, SettingError
from megalabel.linear.added import added_classifiers
from megalabel.models.added_scale import FEWEST_TEXTS, estimate, unit
from megalabel.models.added_scores import AddedLabels, LinearLabels, SimilarLabels
from megalabel.models.base import Classifier
from megalabel.models.extended import ExtendedClassifier
from megalabel.models.facts import pass_on
from megalabel.models.text_list import as_texts

NEGATIVES = 2048  # texts that the classifiers of added labels are trained against


def with_added_labels(
    model: Classifier,
    labels: Sequence[str] | Mapping[str, Sequence[str]],
    texts: Iterable[str] | None,
    metadata: Mapping[str, Mapping[str, Any]] | None,
) -> ExtendedClassifier:
    """The result of `Classifier.with_labels`, whose arguments and errors these are."""
    if model.n_features is not None:
        raise SettingError(
            "with_labels of a model over bags of words",
            wanted="a model that reads texts",
            next_step="train on the new labels as well",
            where="labels",
        )
    names, examples = _checked(labels, model)
    base, before = (model.base_model, model.ranker) if isinstance(model, ExtendedClassifier) else (model, None)
    added = Texts.from_strings(names)
    known = _metadata(model, Texts.joined(model.label_texts, added), names, metadata)
    made = _scorer(base, before, names, examples, [] if texts is None else as_texts(texts))
    if before is None:
        found = ExtendedClassifier(model, added, made)
    else:
        every = Texts.joined(model.label_texts[len(base.label_texts) :], added)
        found = ExtendedClassifier(base, every, before.joined(made))
        pass_on(model, found, np.arange(len(model.label_texts)))
    found.metadata = known
    return found


def _scorer(
    base: Classifier,
    before: AddedLabels | None,
    names: Sequence[str],
    examples: Sequence[Sequence[str]],
    texts: Sequence[str],
) -> AddedLabels:
    """What scores labels that are added to a model which has labels of this kind already, or None.

    texts: some of the kind that will be classified, or none.
    """
    lines = [*names, *(line for own in examples for line in own)]
    owners = np.append(np.arange(len(names)), np.repeat(np.arange(len(names)), list(map(len, examples))))
    spaces, solver = base.label_spaces(lines), base.label_solver()
    if solver is not None and not isinstance(before, SimilarLabels):
        others = base.label_spaces(_negatives(base, texts, set(lines)))[0]
        return LinearLabels(added_classifiers(spaces[0], owners, others, len(names), solver[1]), *solver)
    members = sp.csr_matrix((np.ones(len(owners), np.float32), (owners, range(len(owners)))))
    # Labels that were added before keep their scores, and with them the scale.
    scale = (before.slope, before.offset) if isinstance(before, SimilarLabels) else base.label_scale()
    scale = scale or estimate(base, texts or lines[len(names) :])
    return SimilarLabels.of_sums([members @ unit(rows) for rows in spaces], *scale)


def _negatives(model: Classifier, texts: Sequence[str], examples: set[str]) -> list[str]:
    """Some of the given texts that are no examples; label texts of the model where there are too few."""
    random = np.random.default_rng(0)
    others = [texts[i] for i in random.permutation(len(texts))[:NEGATIVES].tolist() if texts[i] not in examples]
    if len(others) >= FEWEST_TEXTS:
        return others
    names = model.label_texts
    return others + [names[i] for i in random.permutation(len(names))[:NEGATIVES].tolist()]


def _metadata(
    model: Classifier, all_names: Texts, added: Sequence[str], records: Mapping[str, Mapping[str, Any]] | None
) -> LabelMetadata | None:
    """What is known of all labels; DataError for records of labels that are not added."""
    known = None if model.metadata is None else extended(model.metadata, None, all_names)
    if not records:
        return known
    other = next((name for name in records if name not in added), None) if isinstance(records, Mapping) else None
    if other is not None:
        raise DataError(
            f"metadata of {other!r:.80}", wanted=f"of labels that are added ({some(added)})", where="metadata"
        )
    return extended(model.metadata, metadata_of(all_names, records, known), all_names)


def _checked(
    labels: Sequence[str] | Mapping[str, Sequence[str]], model: Classifier
) -> tuple[list[str], list[list[str]]]:
    """Names and example texts of each added label; SettingError for names that are not new."""
    if isinstance(labels, (str, bytes)) or not isinstance(labels, Iterable):
        raise SettingError(
            "one string" if isinstance(labels, str) else f"{labels!r:.80}",
            wanted="a list of names, or example texts by name",
            next_step="write [name]",
            where="labels",
        )
    names = sorted(labels, key=str) if isinstance(labels, Set) else list(labels)  # the order of a set is arbitrary
    examples = (
        [list(as_texts(labels[name])) for name in names] if isinstance(labels, Mapping) else [[]] * len(names)
    )
    seen, given = set[str](), set(filter(lambda name: isinstance(name, str), names))
    known = {name for name in model.label_texts if name in given}
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise SettingError(f"the name {name!r:.80}", wanted="a text that is not blank", where="labels")
        if name in known or name in seen:
            raise SettingError(
                f"the label {name!r:.80} " + ("of this model" if name in known else "twice"),
                wanted="names of new labels, each once",
                next_step="leave it out",
                where="labels",
            )
        seen.add(name)
    if not names:
        raise SettingError("no labels", wanted="one or more names", where="labels")
    return names, examples
