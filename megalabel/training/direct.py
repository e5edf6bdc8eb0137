"""Fits recipes with a direct solver instead of a training loop."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import torch

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
    if create_run_folder(out, recipe):
        parts = () if recipe.base_model is None else (recipe.base_model.encoder, recipe.base_model.head)
        return load(out, device=device, trust=[type(part).__module__.split(".")[0] for part in parts])
    if recipe.base_model is not None:
        recipe.base_model.to(device)
    begun = time.monotonic()
    model = recipe.solve((lambda line: None) if quiet else functools.partial(print, file=sys.stderr))
    model.trained_on = TrainedOn.from_data(recipe.data)
    model.save(out / "model")
    if model.chosen:
        note(out, chosen=dict(model.chosen))
    finish(out, {"seconds": time.monotonic() - begun, "peak_mb": peak_mb()})
    return model
