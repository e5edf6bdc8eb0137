"""A recipe that is solved and not stepped, to a saved model."""

from __future__ import annotations

import functools
import sys
import time
from pathlib import Path

import torch

from megalabel.models.base import Ranker, load
from megalabel.training.folder import claim, finish
from megalabel.training.log import peak_mb
from megalabel.training.recipe import Solved


def solve(recipe: Solved, out: Path, device: torch.device, *, quiet: bool) -> Ranker:
    """The model of a recipe that is solved, saved in the run folder `out`; a run cut off begins again.

    The model of a finished run of the same recipe is loaded. The solvers run on the CPU; `device` is for the
    trained model that the recipe stands on, if any.
    """
    if claim(out, recipe):
        parts = () if recipe.first is None else (recipe.first.encoder, recipe.first.head)
        return load(out, device=device, trust=[type(part).__module__.split(".")[0] for part in parts])
    if recipe.first is not None:
        recipe.first.to(device)
    begun = time.monotonic()
    model = recipe.solve((lambda line: None) if quiet else functools.partial(print, file=sys.stderr))
    model.save(out / "model")
    finish(out, {"seconds": time.monotonic() - begun, "peak_mb": peak_mb()})
    return model
