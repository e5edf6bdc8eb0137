"""What a model keeps of its training set: how many texts had each label, for propensities on other test sets."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from megalabel.data.types import CorpusData
from megalabel.errors import RESTORE_FOLDER
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
    """

    name: str
    n_texts: int
    counts: np.ndarray

    @classmethod
    def from_data(cls, data: CorpusData) -> TrainedOn:
        """Counts the labels of the training split of a data set."""
        labels = data.train.labels
        return cls(data.name, len(data.train), np.bincount(labels.indices, minlength=labels.shape[1]))

    def attach(self, model: Model) -> Model:
        """Tells a model what it was trained on; returns the model itself."""
        model.trained_on = self  # type: ignore[attr-defined]
        return model


def save_trained_on(folder: Path, trained_on: TrainedOn | None) -> None:
    """Writes what is known into the folder of a model; nothing where nothing is known."""
    if trained_on is not None:
        counts = trained_on.counts.astype(np.int32)
        with open(folder / FILE, "wb") as file:
            np.savez(file, name=trained_on.name, n_texts=np.int64(trained_on.n_texts), counts=counts)


def load_trained_on(folder: Path, n_labels: int) -> TrainedOn | None:
    """What `save_trained_on` wrote; None in the folder of a model that does not know, such as one of 0.1.0.

    Raises:
        FormatError: the file is damaged or of other labels.
    """
    if not (folder / FILE).is_file():
        return None
    with (
        reading(folder, wanted="the counts of the labels", next_step=RESTORE_FOLDER),
        np.load(folder / FILE, allow_pickle=False) as found,
    ):
        counts = found["counts"].astype(np.int64)
        if counts.shape != (n_labels,):
            raise ValueError(f"counts of shape {counts.shape} for {n_labels} labels")
        return TrainedOn(str(found["name"]), int(found["n_texts"]), counts)
