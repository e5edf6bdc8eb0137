"""What a model keeps of its training set: how many texts had each label, for propensities on other test sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
import scipy.sparse as sp

from megalabel.data.catalog import propensity_constants
from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.types import CorpusData
from megalabel.errors import RESTORE_FOLDER, DataError
from megalabel.metrics.propensity import inverse_propensity
from megalabel.models.further_texts import columns_of, in_columns
from megalabel.models.label_pairs import (
    STRENGTH,
    added_pairs,
    check_labels,
    count_pairs,
    load_pairs,
    relabeled_pairs,
    save_pairs,
)
from megalabel.storage.reading import reading

FILE = "label_counts.npz"
Model = TypeVar("Model")


@dataclass(frozen=True, eq=False)
class TrainedOn:
    """The training set of a model.

    Attributes:
        name: the name of the data set.
        n_texts: the number of its training texts, those held out included, without label texts.
        counts: (L,) int64, how many of these texts have each label.
        pairs: (L, L) CSR, how many have two labels, as `count_pairs` counts it; None where it is not known.
        strength: the factor of the evidence of given labels (`completion.py`).
    """

    name: str
    n_texts: int
    counts: np.ndarray
    pairs: sp.csr_matrix | None = None
    strength: float = STRENGTH

    @classmethod
    def from_data(cls, data: CorpusData) -> TrainedOn:
        """Counts the labels of the training split of a data set."""
        return cls.from_labels(data.name, data.train.labels)

    @classmethod
    def from_labels(cls, name: str, labels: sp.csr_matrix) -> TrainedOn:
        """Counts the labels (N, L) CSR of texts, for a data set of this name."""
        return cls(name, labels.shape[0], np.bincount(labels.indices, minlength=labels.shape[1]))

    def relabeled(self, target: np.ndarray, n_labels: int) -> TrainedOn:
        """The same for other ids of labels: target (L,) is the new id of each, −1 for none; equal ones add up."""
        counts, kept = np.zeros(n_labels, self.counts.dtype), target >= 0
        np.add.at(counts, target[kept], self.counts[kept])
        pairs = None if self.pairs is None else relabeled_pairs(self.pairs, target, n_labels)
        return replace(self, counts=np.minimum(counts, self.n_texts), pairs=pairs)

    def without(self, labels: sp.csr_matrix) -> TrainedOn:
        """The same without some of these texts, those with labels (N, L) CSR of ones; knows no pairs."""
        counts = np.maximum(self.counts - np.bincount(labels.indices, minlength=len(self.counts)), 0)
        return TrainedOn(self.name, max(self.n_texts - labels.shape[0], 0), counts)

    def inverse_propensities(self, a: float | None = None, b: float | None = None) -> np.ndarray:
        """1/p of each label, (L,) float64, by the constants of the data set unless they are given.

        Raises:
            SettingError: fewer than 3 texts.
        """
        usual = propensity_constants(self.name)
        return inverse_propensity(
            self.counts, self.n_texts, usual[0] if a is None else a, usual[1] if b is None else b
        )

    def with_pairs(self, labels: sp.csr_matrix) -> TrainedOn:
        """The same, with the pairs of labels of some texts (N, L)."""
        return replace(self, pairs=count_pairs(labels))

    def with_texts(self, labels: sp.csr_matrix) -> TrainedOn:
        """The same after further texts with labels (N, L) CSR of ones."""
        counts = self.counts + np.bincount(labels.indices, minlength=len(self.counts))
        pairs = None if self.pairs is None else added_pairs(self.pairs, labels)
        return replace(self, n_texts=self.n_texts + labels.shape[0], counts=counts, pairs=pairs)

    def attach(self, model: Model, metadata: LabelMetadata | None) -> Model:
        """Tells a model what it was trained on, and what is known of its labels; returns the model itself."""
        model.trained_on, model.metadata = self, metadata  # type: ignore[attr-defined]
        return model


def learned_pairs(data: CorpusData | sp.csr_matrix, names: Sequence[str]) -> tuple[TrainedOn, sp.csr_matrix]:
    """What texts tell of the labels of a model, and these labels (N, L), from a corpus or the labels alone.

    Labels of a corpus are matched by name; those that the model lacks are left out.

    Raises:
        DataError: neither, another number of labels, or no label in common.
    """
    name, n = getattr(data, "name", "labels"), len(names)
    if isinstance(data, CorpusData):
        columns = columns_of(names, data)
        if not (columns >= 0).any():
            raise DataError(
                f"no label of {name} is one of the model, whose first is {names[0]!r:.80}",
                wanted="a data set with labels that the model knows",
                next_step="compare the names with `megalabel labels RUN`",
                where="labels",
            )
        labels = in_columns(data.train.labels, columns, n)
    else:
        labels = check_labels(data, n)
    return TrainedOn.from_labels(name, labels), labels


def save_trained_on(folder: Path, trained_on: TrainedOn | None) -> None:
    """Writes what is known into the folder of a model; nothing where nothing is known."""
    if trained_on is not None:
        counts = trained_on.counts.astype(np.int32)
        with open(folder / FILE, "wb") as file:
            np.savez(
                file,
                name=trained_on.name,
                n_texts=np.int64(trained_on.n_texts),
                counts=counts,
                strength=np.float64(trained_on.strength),
            )
        save_pairs(folder, trained_on.pairs)


def load_trained_on(folder: Path, n_labels: int) -> TrainedOn | None:
    """What `save_trained_on` wrote; None in the folder of a model that does not know, such as one of 0.1.0.

    Raises:
        FormatError: the file is damaged or of other labels.
    """
    if not (folder / FILE).is_file():
        return None
    pairs = load_pairs(folder, n_labels)
    with (
        reading(folder, wanted="the counts of the labels", next_step=RESTORE_FOLDER),
        np.load(folder / FILE, allow_pickle=False) as found,
    ):
        counts = found["counts"].astype(np.int64)
        if counts.shape != (n_labels,):
            raise ValueError(f"counts of shape {counts.shape} for {n_labels} labels")
        strength = float(found["strength"]) if "strength" in found else STRENGTH
        if not (math.isfinite(strength) and strength >= 0):
            raise ValueError(f"the strength {strength} of given labels")
        return TrainedOn(str(found["name"]), int(found["n_texts"]), counts, pairs, strength)
