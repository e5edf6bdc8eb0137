"""What every model keeps beside its weights: the counts of its training labels, and its calibration."""

from __future__ import annotations

from pathlib import Path

from megalabel.models.asking import Asking
from megalabel.models.calibrated import FILE, Calibration, save_calibration
from megalabel.models.trained_on import load_trained_on, save_trained_on
from megalabel.storage.manifest import listing_again


def save_facts(folder: Path, model: Asking) -> None:
    """Writes what is known into the folder of a model; nothing where nothing is known."""
    save_trained_on(folder, model.trained_on)
    save_calibration(folder, model.calibration)


def load_facts(folder: Path, model: Asking) -> None:
    """Gives a model what `save_facts` wrote, if anything; FormatError where it is damaged."""
    model.trained_on = load_trained_on(folder, len(model.label_texts)) or model.trained_on
    model.calibration = Calibration.load(folder) or model.calibration


def add_calibration(folder: Path, calibration: Calibration) -> None:
    """Adds a calibration to a saved model, in place of an older one; FormatError where there is no model."""
    with listing_again(folder, FILE):
        calibration.save(folder)
