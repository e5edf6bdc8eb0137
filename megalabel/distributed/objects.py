"""Exchanges of Python objects between the processes of a job; a job of one process needs no torch for them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from megalabel.distributed.world import World


def broadcast_object(value: Any, world: World, source: int = 0) -> Any:
    """The object that process `source` passes, in every process; the others may pass None."""
    if world.size == 1:
        return value
    import torch
    import torch.distributed as dist

    box = [value]
    dist.broadcast_object_list(box, src=source, device=torch.device("cpu"))
    return box[0]


def from_main(make: Callable[[], Any], world: World) -> Any:
    """What a function returns in the main process, which alone calls it, in every process."""
    return broadcast_object(make() if world.is_main else None, world)


def gather_objects(value: Any, world: World) -> list[Any]:
    """The objects of all processes in the order of their ranks, in every process."""
    if world.size == 1:
        return [value]
    import torch.distributed as dist

    found: list[Any] = [None] * world.size
    dist.all_gather_object(found, value)
    return found


def barrier(world: World) -> None:
    """Waits until every process has come here."""
    gather_objects(None, world)
