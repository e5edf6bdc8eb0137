"""Fits recipes with a direct solver instead of a training loop."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import torch

from megalabel.data.read_options import IGNORED
from megalabel.errors import SettingError
from megalabel.models.base import Classifier, load
from megalabel.models.trained_on import TrainedOn
from megalabel.training.log import peak_mb
from megalabel.training.recipe import DirectRecipe
from megalabel.training.run_folder import create_run_folder, finish, note


def solve(recipe: DirectRecipe, out: Path, device: torch.device, *, quiet: bool) -> Classifier:
    """Fits the model of a recipe and saves it in the run folder `out`; an interrupted run starts again.

    If `out` holds a finished run of the same recipe, its model is loaded. The solvers run on the CPU; `device` is
    for the trained model that the recipe builds on, if any.
    """
    check_text_weights(recipe)
    if create_run_folder(out, recipe):
        parts = () if recipe.base_model is None else (recipe.base_model.encoder, recipe.base_model.head)
        return load(out, device=device, trust=[type(part).__module__.split(".")[0] for part in parts])
    if recipe.base_model is not None:
        recipe.base_model.to(device)
    begun = time.monotonic()
    model = recipe.solve((lambda line: None) if quiet else functools.partial(print, file=sys.stderr))
    if model.trained_on is None:  # a model of another run knows what that was trained on
        model.trained_on = TrainedOn.from_data(recipe.data)
    if model.trained_on.pairs is None:
        model.trained_on = model.trained_on.with_pairs(recipe.data.train.labels)
    model.save(out / "model")
    if model.chosen:
        note(out, chosen=dict(model.chosen))
    finish(out, {"seconds": time.monotonic() - begun, "peak_mb": peak_mb()})
    return model


def check_text_weights(recipe: DirectRecipe) -> None:
    """Raises SettingError where training texts have weights that the recipe would ignore."""
    if recipe.data.train.weights is not None and not recipe.uses_weights:
        raise SettingError(
            f"{recipe.data.name} has weights of its training texts, which the recipe {recipe.name} does not use",
            wanted="a DirectRecipe with uses_weights=True",
            next_step="multiply the loss of each text by its weight and declare uses_weights, or read the data "
            f"without weights: weight_field={IGNORED!r} (--weight-field {IGNORED})",
            where="data",
        )
