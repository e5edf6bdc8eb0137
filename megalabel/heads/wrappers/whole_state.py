"""The tensors of a head of which each process holds some rows, as one process would store them."""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator

import torch
import torch.distributed as dist
from torch import Tensor

from megalabel.distributed.objects import gather_objects
from megalabel.distributed.world import World
from megalabel.heads.abilities import OwnLabels, having
from megalabel.heads.base import Head
from megalabel.storage.tensors import Streamed

PIECE = 16 << 20  # bytes that one process sends to another at once


def is_main(head: Head) -> bool:
    """Whether this process writes the head: rank 0, or the only one that holds it."""
    return all(part.world.is_main for part in having(head, OwnLabels))


def whole_state(head: Head) -> dict[str, Tensor | Streamed]:
    """The tensors of a head by the names that they have in one process; every process must call this.

    Tensors with a row per label (or group of labels) are `Streamed`: as rank 0 reads their pieces, the other
    processes must read them too, in the same order (`send`), which sends theirs to it.
    """
    found: dict[str, Tensor | Streamed] = {}
    names = {id(part): name for name, part in head.named_modules()}
    inside = {
        prefix_of(names[id(part.holder)]): (part, prefix_of(names[id(part)])) for part in having(head, OwnLabels)
    }
    for name, tensor in head.state_dict().items():
        prefix = next((prefix for prefix in inside if name.startswith(prefix)), None)
        if prefix is None:
            found[name] = tensor
            continue
        (part, outside), own = inside[prefix], name.removeprefix(prefix)
        whole = own in part.holder.replicated or not tensor.dim()
        found[outside + own] = tensor if whole else _streamed(tensor, part.world)
    return found


def prefix_of(name: str) -> str:
    """The beginning of the names of tensors in a module."""
    return f"{name}." if name else ""


def send(head: Head) -> None:
    """Sends this process's rows to rank 0, which saves the head."""
    for tensor in whole_state(head).values():
        if isinstance(tensor, Streamed):
            for _ in tensor.pieces():
                pass


def _streamed(own: Tensor, world: World) -> Streamed:
    sizes = gather_objects(len(own), world)
    shape = (sum(sizes), *own.shape[1:])
    pieces = functools.partial(_pieces, own.detach(), sizes, world)
    return Streamed(shape, own.dtype, pieces, own.detach(), sum(sizes[: world.rank]))


def _pieces(own: Tensor, sizes: list[int], world: World) -> Iterator[Tensor]:
    """In rank 0 the rows of all processes in their order; the others send theirs, and yield nothing."""
    step = max(1, PIECE // max(math.prod(own.shape[1:]) * own.dtype.itemsize, 1))
    if not world.is_main:
        for part in own.split(step):
            if part.numel():
                dist.send(_bytes(part.cpu().contiguous()), 0)
        return
    yield own
    for rank in range(1, world.size):
        for start in range(0, sizes[rank], step):
            n = min(step, sizes[rank] - start)
            part = torch.empty(n, *own.shape[1:], dtype=own.dtype)
            if part.numel():
                dist.recv(_bytes(part), rank)
            yield part


def _bytes(tensor: Tensor) -> Tensor:
    """The memory of a contiguous tensor."""
    return tensor.reshape(-1).view(torch.uint8)
