"""What the processes of a run compare before its first step: settings, data, versions and the run folder."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from megalabel.distributed.same_job import check_same_job, check_shared
from megalabel.distributed.world import World
from megalabel.training.recipe import DirectRecipe, Recipe
from megalabel.training.run_folder import data_facts
from megalabel.version import __version__


def check_job(recipe: Recipe | DirectRecipe, out: Path, settings: dict[str, Any], world: World) -> None:
    """Compares the processes of a job; does nothing for one process.

    Args:
        recipe: what this process is about to train.
        out: the run folder, which process 0 has made.
        settings: further values that must be the same, by name.
        world: the processes.

    Raises:
        ProcessesDiffer: in all processes, naming the settings that differ and their values.
        NotShared: in all processes, if one of them does not see the run folder of process 0.
    """
    if world.size > 1:
        check_same_job(job_facts(recipe) | settings, world)
        check_shared(out, world)


def job_facts(recipe: Recipe | DirectRecipe) -> dict[str, Any]:
    """What determines the result of a run, as JSON: two processes with the same facts train the same model."""
    data = {name: value for name, value in data_facts(recipe.data).items() if name != "path"}
    held = np.asarray(recipe.validation, np.int64)
    return {
        "megalabel": __version__,
        "torch": torch.__version__,
        "recipe": recipe.name,
        "arguments": recipe.arguments,
        "data": data,
        "source of the recipe": recipe.source_sha256,
        "encoder of a run": getattr(recipe, "encoder_sha256", ""),
        "held-out texts": hashlib.sha256(held.tobytes()).hexdigest(),
        "weights of the encoder": _digest(recipe.encoder) if isinstance(recipe, Recipe) else "",
    }


def _digest(module: nn.Module) -> str:
    """The SHA-256 of all tensors of a module."""
    found = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        found.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        if tensor.numel():
            found.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy())
    return found.hexdigest()
