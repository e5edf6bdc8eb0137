"""Everything needed to go on with a run, in a folder that is there whole or not at all."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megalabel.storage.files import atomic_folder
from megalabel.storage.manifest import read_manifest, write_manifest
from megalabel.storage.tensors import fill, load_tensors, save_tensors
from megalabel.training.recipe import Recipe

FORMAT = 1
WITHOUT_LAST = "delete the folder `last` of the run and train again"


def save(folder: Path, recipe: Recipe, scaler: torch.amp.GradScaler, progress: dict[str, Any]) -> None:
    """Writes `last/step-N`: weights, optimisers, loss scale and `progress` (`step`, best score, …).

    Random states are not needed: order, dropout and all else are functions of (seed, step).
    """
    name = f"step-{progress['step']:09}"
    with atomic_folder(folder / name) as new:
        save_tensors(new / "encoder.safetensors", recipe.encoder.state_dict())
        save_tensors(new / "head.safetensors", recipe.head.state_dict())
        facts: dict[str, Any] = {}
        for key, optimizer in recipe.optimizers.named.items():
            tensors: dict[str, Tensor] = {}
            facts[key] = _apart(optimizer.state_dict(), "", tensors)
            save_tensors(new / f"optimizer-{key}.safetensors", tensors)
        write_manifest(new, FORMAT, {"optimizers": facts, "scaler": scaler.state_dict(), "progress": progress})
    for old in folder.iterdir():
        if old.name != name:
            shutil.rmtree(old, ignore_errors=True)


def newest(folder: Path) -> Path | None:
    """The last whole checkpoint in `last/`, or None."""
    if not folder.is_dir():
        return None
    steps = sorted(path for path in folder.iterdir() if path.name.startswith("step-"))
    return steps[-1] if steps else None


def load(path: Path, recipe: Recipe, scaler: torch.amp.GradScaler) -> dict[str, Any]:
    """Puts a checkpoint's state into the recipe's parts; returns `progress`."""
    wanted = ("optimizers", "scaler", "progress")
    state = read_manifest(path, "checkpoint", FORMAT, facts=wanted, next_step=WITHOUT_LAST)
    with torch.no_grad():
        fill(recipe.encoder, path / "encoder.safetensors", next_step=WITHOUT_LAST)
        fill(recipe.head, path / "head.safetensors", next_step=WITHOUT_LAST)
    for key, optimizer in recipe.optimizers.named.items():
        tensors = load_tensors(path / f"optimizer-{key}.safetensors", next_step=WITHOUT_LAST)
        optimizer.load_state_dict(_together(state["optimizers"][key], tensors))
    scaler.load_state_dict(state["scaler"])
    progress: dict[str, Any] = state["progress"]
    return progress


def cut_log(path: Path, step: int) -> None:
    """Forgets the log's lines from `step` on, which will be written again."""
    if not path.exists():
        return
    kept = [line for line in path.read_text(encoding="utf-8").splitlines() if _step(line) < step]
    temporary = path.with_suffix(".new")
    temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")
    os.replace(temporary, path)


def _step(line: str) -> float:
    try:
        return float(json.loads(line).get("step", -1))
    except (json.JSONDecodeError, AttributeError):
        return float("inf")  # a line that a crash cut short


def _apart(value: Any, at: str, tensors: dict[str, Tensor]) -> Any:
    """A nested state as JSON, its tensors taken out into `tensors` and named by their place."""
    if isinstance(value, Tensor):
        tensors[at] = value
        return {"tensor": at}
    if isinstance(value, dict):
        return {"dict": [[k, _apart(v, f"{at}/{k}", tensors)] for k, v in value.items()]}
    if isinstance(value, (list, tuple)):
        return {"list": [_apart(v, f"{at}/{i}", tensors) for i, v in enumerate(value)]}
    return {"value": value}


def _together(value: Any, tensors: dict[str, Tensor]) -> Any:
    (kind, inside), *_ = value.items()
    if kind == "tensor":
        return tensors[inside]
    if kind == "dict":
        return {k: _together(v, tensors) for k, v in inside}
    if kind == "list":
        return [_together(v, tensors) for v in inside]
    return inside
