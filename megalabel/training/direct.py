"""Fits recipes with a direct solver instead of a training loop."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import numpy as np
import torch

from megalabel.data.read_options import IGNORED
from megalabel.errors import SettingError
from megalabel.models.base import Classifier, load
from megalabel.models.trained_on import TrainedOn
from megalabel.phases import phase, timed
from megalabel.progress import hidden
from megalabel.progress import say as show
from megalabel.training.calibration import calibrate_on_rows, learn_strength
from megalabel.training.job_checks import check_job
from megalabel.training.log import peak_mb
from megalabel.training.processes import Processes
from megalabel.training.recipe import DirectRecipe, Say
from megalabel.training.run_folder import create_run_folder, finish, note


@timed()
def solve(
    recipe: DirectRecipe, out: Path, device: torch.device, processes: Processes, *, quiet: bool
) -> Classifier:
    """Fits the model of a recipe and saves it in the run folder `out`; an interrupted run starts again.

    If `out` holds a finished run of the same recipe, its model is loaded. The solvers run on the CPU; `device` is
    for the trained model that the recipe builds on, if any.

    The processes of a job call it at the same time. The main process writes the folder, from which the others load
    the model in the end.
    """
    check_text_weights(recipe)
    if not recipe.over_processes:
        processes.check_alone(f"the recipe {recipe.name}")
    check_job(recipe, out, {}, processes.world)
    if processes.by_main(lambda: create_run_folder(out, recipe)):
        parts = () if recipe.base_model is None else (recipe.base_model.encoder, recipe.base_model.head)
        return load(out, device=device, trust=[type(part).__module__.split(".")[0] for part in parts])
    if recipe.base_model is not None:
        recipe.base_model.to(device)
    begun, silent = time.monotonic(), quiet or not processes.world.is_main
    say: Say = (lambda line: None) if silent else show
    with hidden() if silent else contextlib.nullcontext(), phase("other steps"):
        model = recipe.solve(say)
    if model is not None:
        _save(model, recipe, out, begun, say)
    processes.wait()
    return load(out, device=device) if model is None else model


@phase("saving the model")
def _save(model: Classifier, recipe: DirectRecipe, out: Path, begun: float, say: Say) -> None:
    if model.trained_on is None:  # a model of another run knows what that was trained on
        model.trained_on = TrainedOn.from_data(recipe.data)
    model.metadata = model.metadata or recipe.data.metadata
    if model.trained_on.pairs is None:
        model.trained_on = model.trained_on.with_pairs(recipe.data.train.labels)
    if model.calibration is None and len(recipe.validation):
        calibrate_on_rows(model, recipe.data, np.asarray(recipe.validation), say)
    if len(recipe.validation):
        learn_strength(model, recipe.data, np.asarray(recipe.validation))
    model.save(out / "model")
    if model.chosen:
        note(out, chosen=dict(model.chosen))
    finish(out, {"seconds": time.monotonic() - begun, "peak_mb": peak_mb()})


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
