"""Adds labels to a classifier: checks their names, and makes their vectors and their metadata."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.further_metadata import extended
from megalabel.data.label_lookup import some
from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.metadata_records import metadata_of
from megalabel.data.texts import Texts
from megalabel.errors import DataError, SettingError
from megalabel.models.base import Classifier
from megalabel.models.calibration import estimate, unit
from megalabel.models.extended import ExtendedClassifier
from megalabel.models.facts import pass_on
from megalabel.models.text_list import as_texts


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
    all_names = Texts.from_strings([*model.label_texts, *names])
    known = _metadata(model, all_names, names, metadata)
    given = [] if texts is None else as_texts(texts)
    owners = [i for i, own in enumerate(examples) for _ in range(1 + len(own))]
    lines = [line for name, own in zip(names, examples, strict=True) for line in (name, *own)]
    members = sp.csr_matrix((np.ones(len(owners), np.float32), (owners, range(len(owners)))))
    prototypes = [unit(members @ unit(rows)) for rows in model.label_spaces(lines)]
    if isinstance(model, ExtendedClassifier):  # its own scale, so that the labels added before keep their scores
        both = [sp.vstack(pair, format="csr") if sp.issparse(pair[0]) else np.concatenate(pair)
                for pair in zip(model.prototypes, prototypes, strict=True)]  # fmt: skip
        added = Texts.from_strings([*model.added, *names])
        found = ExtendedClassifier(model.base_model, added, both, model.slope, model.offset)
        pass_on(model, found, np.arange(len(model.label_texts)))
        found.metadata = known
        return found
    scale = model.label_scale()
    if scale is None:
        scale = estimate(model, given or [line for own in examples for line in own])
    found = ExtendedClassifier(model, Texts.from_strings(names), prototypes, *scale)
    found.metadata = known
    return found


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
    if isinstance(labels, str):
        raise SettingError(
            "one string",
            wanted="a list of names, or example texts by name",
            next_step="write [name]",
            where="labels",
        )
    names = list(labels)
    examples = (
        [list(as_texts(labels[name])) for name in names] if isinstance(labels, Mapping) else [[]] * len(names)
    )
    known, seen = set(model.label_texts), set[str]()
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
