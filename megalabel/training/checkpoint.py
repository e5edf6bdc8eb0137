"""Checkpoints: everything needed to resume a run, written atomically to a folder."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megalabel.storage.files import atomic_folder
from megalabel.storage.manifest import read_manifest, write_manifest
from megalabel.storage.reading import reading
from megalabel.storage.tables import any_mapped, new_table, tables_on_disk
from megalabel.storage.tensors import fill, load_tensors, save_tensors
from megalabel.training.loop import Position
from megalabel.training.nested_state import with_tensors, without_tensors
from megalabel.training.recipe import Recipe

FORMAT = 1
WITHOUT_LAST = "delete the folder `last` of the run and train again"


def save(folder: Path, recipe: Recipe, scaler: torch.amp.GradScaler, progress: dict[str, Any]) -> None:
    """Writes `last/step-N`: weights, optimizers, averages, loss scale and `progress` (`step`, best score, …).

    Random states are not saved: the order of the texts, dropout and all other random numbers are functions of
    (seed, step).
    """
    name = f"step-{progress['step']:09}"
    with atomic_folder(folder / name) as new:
        for key, module in recipe.modules().items():
            save_tensors(new / f"{key}.safetensors", module.state_dict())
        facts: dict[str, Any] = {}
        for key, optimizer in recipe.optimizers.named.items():
            tensors: dict[str, Tensor] = {}
            facts[key] = without_tensors(optimizer.state_dict(), "", tensors)
            save_tensors(new / f"optimizer-{key}.safetensors", tensors)
        state = {"optimizers": facts, "scaler": scaler.state_dict(), "progress": progress}
        if recipe.averaging is not None:
            tensors = {}
            state["averaging"] = without_tensors(recipe.averaging.state_dict(), "", tensors)
            save_tensors(new / "averaging.safetensors", tensors)
        write_manifest(new, FORMAT, state)
    for old in folder.iterdir():
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)


def newest(folder: Path) -> Path | None:
    """The last complete checkpoint in `last/`, or None."""
    if not folder.is_dir():
        return None
    steps = sorted(path for path in folder.iterdir() if path.name.startswith("step-"))
    return steps[-1] if steps else None


def load(path: Path, recipe: Recipe, scaler: torch.amp.GradScaler) -> dict[str, Any]:
    """Loads a checkpoint into the parts of a recipe; returns `progress`."""
    wanted = ("optimizers", "scaler", "progress")
    state = read_manifest(path, "checkpoint", FORMAT, facts=wanted, next_step=WITHOUT_LAST)
    with reading(path, wanted="the state of this run", next_step=WITHOUT_LAST, what="the checkpoint is damaged"):
        return _load(path, recipe, scaler, state)


def _load(path: Path, recipe: Recipe, scaler: torch.amp.GradScaler, state: dict[str, Any]) -> dict[str, Any]:
    with torch.no_grad():
        for key, module in recipe.modules().items():
            fill(module, path / f"{key}.safetensors", next_step=WITHOUT_LAST)
    on_disk = any_mapped(iter(recipe.head.state_dict().values()))
    make = _on_disk if on_disk else None
    for key, optimizer in recipe.optimizers.named.items():
        tensors = load_tensors(path / f"optimizer-{key}.safetensors", next_step=WITHOUT_LAST, make=make)
        optimizer.load_state_dict(with_tensors(state["optimizers"][key], tensors))
    if recipe.averaging is not None:
        tensors = load_tensors(path / "averaging.safetensors", next_step=WITHOUT_LAST)
        device = next(recipe.head.parameters()).device
        recipe.averaging.load_state_dict(with_tensors(state["averaging"], tensors), device)
    scaler.load_state_dict(state["scaler"])
    return asdict(checked(state["progress"]))


def checked(progress: dict[str, Any]) -> Position:
    """The position that a checkpoint holds; ValueError or TypeError if it is none."""
    position = Position(**progress)
    if not all(type(value) in (int, float) for value in asdict(position).values()) or position.step < 0:
        raise ValueError(f"a position of {progress!r:.200}")
    return position


def _on_disk(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """The state of an optimizer of tables on disk: on disk too, where it is large."""
    with tables_on_disk():
        return new_table(shape, dtype)
