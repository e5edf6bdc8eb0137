"""The checkpoints of a run: written by one process, or by several of which each holds some labels."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from megalabel.distributed.objects import broadcast_object
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.heads.abilities import OwnLabels, having
from megalabel.phases import phase
from megalabel.storage.reading import reading
from megalabel.training import checkpoint
from megalabel.training.loop import Position
from megalabel.training.recipe import Recipe


class Checkpoints:
    """Saves and loads checkpoints of a recipe; in a job of several processes each of them calls all methods.

    Args:
        recipe: this process's recipe, whose modules are on their device.
        scaler: the loss scaler.
        world: the processes.

    Raises:
        SettingError: the recipe averages weights, which checkpoints of several processes do not hold.
    """

    def __init__(self, recipe: Recipe, scaler: torch.amp.GradScaler, world: World) -> None:
        self._recipe, self._scaler, self._world = recipe, scaler, world
        self._shared: Any = None
        if world.size == 1:
            return
        if recipe.averaging is not None and having(recipe.head, OwnLabels):
            raise SettingError(
                f"averaged weights in a job of {world.size} processes",
                wanted="a recipe without averages",
                next_step="train in one process",
                where="recipe",
            )
        from megalabel.training.label_rows import divided_rows
        from megalabel.training.shared_checkpoint import SharedCheckpoints

        self._shared = SharedCheckpoints(world, recipe, divided_rows(recipe, world))

    @phase("writing checkpoints")
    def save(self, folder: Path, position: Position) -> None:
        """Writes `step-N` in `folder`; several processes go on while it is written, and `wait` waits for it."""
        if self._shared is None:
            checkpoint.save(folder, self._recipe, self._scaler, asdict(position))
        else:
            self._shared.save(folder, self._scaler, asdict(position))

    def wait(self) -> None:
        """Waits until the last checkpoint is complete; raises what has failed in any process."""
        if self._shared is not None:
            self._shared.wait()

    def load(self, path: Path) -> Position:
        """Loads a checkpoint of one or of several processes into this process's recipe.

        Raises:
            FormatError: in all processes, if the checkpoint is damaged, or of another recipe.
            SettingError: it was written by one process, and this is a job of several.
        """
        if broadcast_object(is_shared(path), self._world):
            from megalabel.training.label_rows import divided_rows
            from megalabel.training.shared_checkpoint import load

            next_step = checkpoint.WITHOUT_LAST
            found = load(path, self._recipe, self._scaler, self._world, divided_rows(self._recipe, self._world))
            with reading(path, wanted="the state of this run", next_step=next_step, what="it is damaged"):
                return checkpoint.checked(found)
        if self._world.size > 1:
            raise SettingError(
                f"the checkpoint {path} was written by one process, and this is a job of {self._world.size}",
                wanted="a checkpoint of several processes, or none",
                next_step="resume in one process, or train again with --overwrite",
                where="out",
            )
        return Position(**checkpoint.load(path, self._recipe, self._scaler))


def is_shared(path: Path) -> bool:
    """Whether a checkpoint was written by several processes; they are also those with no file of tensors left."""
    return any(path.glob("rank-*-of-*.safetensors")) or not any(path.glob("*.safetensors"))
