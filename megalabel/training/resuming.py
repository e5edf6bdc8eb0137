"""What resuming needs beyond checkpoints: the numbers of threads, and the scale of the learning rates."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from megalabel.errors import SettingError
from megalabel.training.optim.scaled import Scaled
from megalabel.training.recipe import DirectRecipe, Recipe
from megalabel.training.run_folder import note, read_recipe


def check_lr_scale(scale: float | None, recipe: Recipe | DirectRecipe | None = None) -> None:
    """Raises SettingError if a scale of learning rates is out of range, or the recipe has no learning rates."""
    if scale is not None and isinstance(recipe, DirectRecipe):
        raise SettingError(
            f"lr_scale = {scale} for a recipe without learning rates",
            wanted="a recipe that is trained step by step",
            next_step="leave it out",
            where="lr_scale",
        )
    number = isinstance(scale, (int, float)) and not isinstance(scale, bool)
    if scale is not None and not (number and 0 < scale <= 1):
        raise SettingError(
            f"lr_scale = {scale}",
            wanted="above 0 and at most 1",
            next_step="use for example 0.1, for a tenth of the learning rates",
            where="lr_scale",
        )


def with_scaled_rates(recipe: Recipe, out: Path, scale: float | None, step: int, *, write: bool = True) -> Recipe:
    """The recipe with scaled learning rates from `step` on; the scale and the step are noted in `recipe.json`.

    Args:
        recipe: the recipe with its own learning rates.
        out: the run folder.
        scale: a factor of the recipe's learning rates; None to keep the scale that the run had.
        step: the next step.
        write: whether this process notes it.
    """
    found = read_recipe(out).get("lr_scale")
    before = [pair for pair in found if pair[0] <= step] if isinstance(found, list) else []
    now = before[-1][1] if before else 1.0
    if scale is not None and scale != now:
        before, now = [*before, [step, scale]], scale
    if (before or found) and write:
        note(out, lr_scale=before)
    return recipe if now == 1.0 else replace(recipe, schedule=Scaled(recipe.schedule, float(now)))


def note_threads(out: Path, device: torch.device, resumed: bool) -> list[str]:
    """Notes the number of threads in `recipe.json`; returns a warning if a resumed run had another number."""
    if device.type != "cpu":
        return []
    now = torch.get_num_threads()
    found: Any = read_recipe(out).get("threads")
    before: list[int] = found if resumed and isinstance(found, list) else []
    if not before or before[-1] != now:
        note(out, threads=[*before, now])
    if not before or before == [now]:
        return []
    counts = " and ".join(str(n) for n in dict.fromkeys([*before, now]))
    return [
        f"this run was computed with {counts} threads: its weights will not be exactly those of an uninterrupted "
        f"run; with --threads {before[0]} throughout they would be"
    ]
