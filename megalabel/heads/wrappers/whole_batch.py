"""The views of all texts of a batch, of which each process encodes its own."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from megalabel.distributed.collectives import Traffic, gather_rows, reduce_scatter_rows
from megalabel.distributed.objects import broadcast_object
from megalabel.distributed.world import World


def gathered(views: Tensor, sizes: Sequence[int], world: World, traffic: Traffic) -> Tensor:
    """The views of all processes (b_r, V, D), in the order of their ranks: (Σ b_r, V, D).

    In the backward pass the gradients are summed over the processes; each receives those of its own views.

    Args:
        views: (b_r, V, D), those of this process.
        sizes: b_r of each process.
        world: the processes.
        traffic: counts the bytes.
    """
    if world.size == 1:
        return views
    found: Tensor = _Gathered.apply(views, list(sizes), world, traffic)  # type: ignore[no-untyped-call]
    return found


def share_random_state(device: torch.device, world: World) -> None:
    """Gives torch's generator of the device the state that it has in the main process."""
    if world.size == 1:
        return
    on_gpu = device.type == "cuda"
    state = torch.cuda.get_rng_state(device) if on_gpu else torch.get_rng_state()
    shared = broadcast_object(state, world)
    if on_gpu:
        torch.cuda.set_rng_state(shared, device)
    else:
        torch.set_rng_state(shared)


class _Gathered(torch.autograd.Function):
    """The rows of all processes; backward sums their gradients over the processes."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, sizes: list[int], world: World, traffic: Traffic) -> Tensor:
        ctx.sizes, ctx.world, ctx.traffic = sizes, world, traffic
        return gather_rows(rows, sizes, world, traffic)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        found = reduce_scatter_rows(gradient, ctx.sizes, ctx.world, ctx.traffic).wait()
        return found, None, None, None
