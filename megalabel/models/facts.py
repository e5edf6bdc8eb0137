"""What every model keeps beside its weights: the counts and the metadata of its labels, and its calibration."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from megalabel.data.further_metadata import extended
from megalabel.models.asking import Asking
from megalabel.models.calibrated import FILE, Calibration, save_calibration
from megalabel.models.metadata_file import load_metadata, save_metadata
from megalabel.models.trained_on import load_trained_on, save_trained_on
from megalabel.storage.manifest import listing_again


def save_facts(folder: Path, model: Asking, inner: Sequence[Asking] = ()) -> None:
    """Writes what is known into the folder of a model; nothing where nothing is known.

    inner: the models in the same folder, from whose metadata those of this model are taken when it is loaded.
    """
    save_trained_on(folder, model.trained_on)
    if all(one.metadata is not model.metadata for one in inner):
        save_metadata(folder, model.metadata)
    save_calibration(folder, model.calibration)


def load_facts(folder: Path, model: Asking) -> None:
    """Gives a model what `save_facts` wrote, if anything; FormatError where it is damaged."""
    model.trained_on = load_trained_on(folder, len(model.label_texts)) or model.trained_on
    model.metadata = load_metadata(folder, len(model.label_texts)) or model.metadata
    model.calibration = Calibration.load(folder) or model.calibration


def pass_on(model: Asking, changed: Asking, target: np.ndarray) -> None:
    """Gives a model with other labels what is known of the one that it was made from.

    The calibration is left out where labels are merged: the probability of a group is not that of its best label.

    Args:
        model: the model over L labels.
        changed: the model made from it.
        target: (L,) the id in `changed` of each label, −1 for one that is removed.

    Raises:
        DataError: merged labels have a label between them in the taxonomy.
    """
    if model.trained_on is not None:
        changed.trained_on = model.trained_on.relabeled(target, len(changed.label_texts))
    if model.metadata is not None and len(changed.label_texts) > len(target):
        changed.metadata = extended(model.metadata, None, changed.label_texts)
    elif model.metadata is not None:
        changed.metadata = model.metadata.relabeled(target, model.label_texts, changed.label_texts)
    merges = np.bincount(target[target >= 0]).max() > 1
    changed.calibration = None if merges else model.calibration


def add_calibration(folder: Path, calibration: Calibration) -> None:
    """Adds a calibration to a saved model, in place of an older one; FormatError where there is no model."""
    with listing_again(folder, FILE):
        calibration.save(folder)
