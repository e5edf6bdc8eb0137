"""Collects the rows of all processes in the main one, which alone needs memory for them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import Tensor

from megalabel.distributed.world import World

BLOCK = 1 << 24  # numbers that are sent at a time


@torch.no_grad()
def rows_to_main(rows: Tensor, sizes: Sequence[int], world: World) -> Tensor | None:
    """The rows of all processes in the order of their ranks: on the CPU of the main process, None in the others.

    Args:
        rows: (n_r, ...), the rows of this process.
        sizes: n_r of each process, the same list in all of them.
        world: the processes.
    """
    own, width = rows.detach().contiguous(), math.prod(rows.shape[1:])
    if not width:
        return own.new_empty(sum(sizes), *own.shape[1:]).cpu() if world.is_main else None
    step = max(1, BLOCK // width)
    if not world.is_main:
        for start in range(0, len(own), step):
            dist.send(own[start : start + step], dst=0)
        return None
    whole = torch.empty(sum(sizes), *own.shape[1:], dtype=own.dtype)
    whole[: len(own)] = own
    end = len(own)
    for rank in range(1, world.size):
        for start in range(end, end + sizes[rank], step):
            stop = min(start + step, end + sizes[rank])
            buffer = own.new_empty(stop - start, *own.shape[1:])
            dist.recv(buffer, src=rank)
            whole[start:stop] = buffer
        end += sizes[rank]
    return whole
