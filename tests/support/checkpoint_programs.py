"""Functions that tests of checkpoints and failures run in several processes by `ranks.py`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from megalabel.distributed.checkpoint_plan import Part, Rows
from megalabel.distributed.checkpoints import CheckpointSaver, load_parts
from megalabel.distributed.shards import LabelShards
from megalabel.distributed.world import World
from megalabel.errors import MegalabelError
from megalabel.storage.shard_manifest import ShardManifest


def parts_of(tensors: dict[str, Tensor], bounds: tuple[int, ...], rank: int) -> dict[str, Part]:
    """The parts of a rank: tensors called `rows…` are divided at the bounds, others are whole."""
    parts = {}
    for name, tensor in tensors.items():
        if name.startswith("rows"):
            own = LabelShards(bounds).range(rank)
            parts[name] = Part(tensor[own.start : own.stop].clone(), Rows(own.start, own.stop, len(tensor)))
        else:
            parts[name] = Part(tensor.clone())
    return parts


def save(world: World, folder: Path, name: str, tensors: dict[str, Tensor], bounds: tuple[int, ...]) -> str:
    """Saves a checkpoint while its tensors are overwritten; the message of the error, if there was one."""
    saver = CheckpointSaver(world, 60)
    parts = parts_of(tensors, bounds, world.rank)
    try:
        saver.start(folder, name, parts, {"step": 7})
        for part in parts.values():
            part.tensor.zero_()
        saver.wait()
    except MegalabelError as error:
        return str(error)
    return ""


def load(world: World, folder: Path, tensors: dict[str, Tensor], bounds: tuple[int, ...]) -> Any:
    """What a rank loads: its parts and the facts; or the class, message, process and speaker of the error."""
    parts = parts_of({name: torch.zeros_like(tensor) for name, tensor in tensors.items()}, bounds, world.rank)
    try:
        manifest = ShardManifest.read(folder, next_step="train again")
        load_parts(folder, manifest, parts, world, next_step="train again")
    except MegalabelError as error:
        return type(error).__name__, str(error), error.process, error.speaker
    return {name: part.tensor for name, part in parts.items()}, manifest.facts
