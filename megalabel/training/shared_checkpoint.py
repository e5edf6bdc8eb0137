"""Checkpoints of several processes: each writes the rows of its labels, and any number of them resumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megalabel.distributed.agreement import together
from megalabel.distributed.checkpoint_plan import Part, Rows
from megalabel.distributed.checkpoints import CheckpointSaver, load_parts
from megalabel.distributed.world import TIMEOUT, World
from megalabel.errors import FormatError
from megalabel.storage.reading import reading
from megalabel.storage.shard_manifest import ShardManifest, StoredTensor
from megalabel.storage.tables import any_mapped, new_table, tables_on_disk
from megalabel.training.nested_state import with_tensors
from megalabel.training.recipe import Recipe
from megalabel.training.shared_state import SharedState

NEXT_STEP = "restore the folder from a copy, or delete the folder `last` of the run and train again"


class SharedCheckpoints:
    """Saves checkpoints of a recipe in the background (see `CheckpointSaver`).

    Args:
        world: the processes, two or more.
        recipe: this process's recipe.
        divided: the rows that this process holds of tensors of its modules; see `divided_rows`.
        timeout: seconds that a process waits for the others.
    """

    def __init__(
        self, world: World, recipe: Recipe, divided: Mapping[str, Rows], timeout: float = TIMEOUT
    ) -> None:
        self._world, self._recipe, self._divided = world, recipe, divided
        self._saver = CheckpointSaver(world, timeout)

    def save(self, folder: Path, scaler: torch.amp.GradScaler, progress: dict[str, Any]) -> None:
        """Starts writing `step-N` in `folder`; see `training.checkpoint.save`. Every process calls it."""
        parts, optimizers = SharedState(self._recipe, self._divided).parts(self._world)
        facts = {
            "optimizers": optimizers,
            "scaler": scaler.state_dict(),
            "progress": progress,
            "processes": self._world.size,
            "divided": sorted(name for name, part in parts.items() if part.rows is not None),
        }
        copy = not any_mapped(part.tensor for part in parts.values())  # tables on disk are not copied to memory
        self._saver.start(folder, f"step-{progress['step']:09}", parts, facts, copy=copy)

    def wait(self) -> None:
        """Waits until the last checkpoint is complete; raises what has failed in any process."""
        self._saver.wait()


def load(
    path: Path, recipe: Recipe, scaler: torch.amp.GradScaler, world: World, divided: Mapping[str, Rows]
) -> dict[str, Any]:
    """Loads a checkpoint of any number of processes into this process's part of a recipe; returns `progress`.

    Raises:
        DamagedShard, FormatError: in all processes, if the checkpoint is damaged or of another recipe.
    """
    manifest = together(world, lambda: ShardManifest.read(path, next_step=NEXT_STEP))
    facts, state = manifest.facts, SharedState(recipe, divided)
    parts = state.module_parts()
    with reading(path, wanted="the state of this run", next_step=NEXT_STEP, what="the checkpoint does not fit"):
        if facts["optimizers"].keys() != state.stateful.keys():
            raise FormatError(
                f"states of {', '.join(facts['optimizers'])}", wanted=", ".join(state.stateful), where=path
            )
        on_disk = any_mapped(iter(state.modules.values()))
        parts |= {
            name: _new_part(stored, state.of_state(name) if name in facts["divided"] else None, on_disk)
            for name, stored in manifest.tensors.items()
            if name not in parts
        }
    load_parts(path, manifest, parts, world, next_step=NEXT_STEP)
    for tensor in state.modules.values():
        if not tensor.is_inference():  # torch does not notice what is read into its memory
            torch.autograd.graph.increment_version(tensor)
    with reading(path, wanted="the state of this run", next_step=NEXT_STEP, what="the checkpoint does not fit"):
        for key, owner in state.stateful.items():
            own = {name.partition(":")[2]: p.tensor for name, p in parts.items() if name.startswith(f"{key}:")}
            place = (next(recipe.head.parameters()).device,) if owner is recipe.averaging else ()
            owner.load_state_dict(with_tensors(facts["optimizers"][key], own), *place)
        scaler.load_state_dict(facts["scaler"])
        return dict(facts["progress"])


def _new_part(stored: StoredTensor, rows: Rows | None, on_disk: bool) -> Part:
    """A tensor to fill: this process's rows, on disk where the tables are."""
    if rows is not None:
        rows = replace(rows, total=stored.shape[0])
    shape = stored.shape if rows is None else (len(rows), *stored.shape[1:])
    return Part(_empty(shape, stored.torch_dtype, on_disk), rows)


def _empty(shape: tuple[int, ...], dtype: torch.dtype, on_disk: bool) -> Tensor:
    if not on_disk:
        return torch.empty(shape, dtype=dtype)
    with tables_on_disk():
        return new_table(shape, dtype)
