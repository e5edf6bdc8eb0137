"""Checks the arguments of `train`: the recipe, the intervals and the texts held out for validation."""

from __future__ import annotations

from typing import TypeGuard

import numpy as np
import torch

from megalabel.errors import SettingError
from megalabel.storage.tables import any_mapped
from megalabel.training import selection
from megalabel.training.recipe import Recipe


def check_arguments(
    recipe: Recipe, seconds: float, steps: int | None, validate_epochs: float | None, callback: object = None
) -> None:
    """Refuses before training what would fail, or be ignored, in the middle of it.

    Raises:
        SettingError: the recipe is not a recipe, or one of its settings or an argument of `train` is invalid.
    """
    if not isinstance(recipe, Recipe):
        raise SettingError(
            f"a {type(recipe).__name__}",
            wanted="the result of a recipe function",
            next_step='call train(megalabel.recipes.from_preset("renee", data), out)',
            where="recipe",
        )
    if callback is not None and not callable(callback):
        raise SettingError(f"{callback!r:.80}", wanted="a function that takes a line of the log", where="callback")
    whole = isinstance(steps, int) and not isinstance(steps, bool)
    for name, value, fits in (
        ("checkpoint_seconds", seconds, _is_number(seconds) and seconds >= 0),
        ("checkpoint_steps", steps, steps is None or (whole and steps >= 1)),
        ("validate_epochs", validate_epochs, validate_epochs is None or _is_between(validate_epochs)),
    ):
        if not fits:  # also true for NaN
            raise SettingError(f"{name} = {value}", wanted="a number above 0", next_step="leave it out")
    recipe.modules()  # raises for parts called encoder or head
    selection.check(recipe.selection_metric)
    if len(recipe.validation) == 0:
        return
    if recipe.data.train.labels[np.asarray(recipe.validation)].nnz == 0:
        raise SettingError(
            f"none of the {len(recipe.validation)} texts held out for validation has a label",
            wanted="texts with labels, to choose the best model",
            next_step="raise validation_fraction, use another seed, or set validation_fraction to 0",
        )


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)


def _is_between(value: object) -> bool:
    """Whether a value is a number above 0, and finite."""
    return _is_number(value) and 0 < value < float("inf")


def check_place(recipe: Recipe, device: torch.device) -> None:
    """Raises SettingError for tables on disk in a training on another device than the CPU."""
    if device.type != "cpu" and any_mapped(iter(recipe.head.state_dict().values())):
        raise SettingError(
            f"tables on disk for a training on {device}",
            wanted="tables in the memory of the device, or a training on the CPU",
            next_step="leave tables out (--tables), or set the device to cpu (--device cpu)",
            where="tables",
        )
