"""The batch of all processes: every process encodes its own texts, and sees the views of all of them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from megalabel.distributed.collectives import Traffic, broadcast_object, gather_rows, reduce_scatter_rows
from megalabel.distributed.world import World
from megalabel.types import Positives


class WholeBatch:
    """Gathers the texts of a batch from all processes, in the order of their ranks.

    Attributes:
        world: the processes.
        traffic: the bytes sent; a head counts its other exchanges here as well.
    """

    def __init__(self, world: World) -> None:
        self.world, self.traffic = world, Traffic()

    def gathered(self, views: Tensor, positives: Positives) -> tuple[Tensor, Positives]:
        """The views (ΣB, V, D) and the positives of all processes.

        In the backward pass the gradients of the views are summed over the processes, and each process receives
        those of its own texts.
        """
        if self.world.size == 1:
            return views, positives
        facts = torch.tensor([[len(views), len(positives)]], dtype=torch.int64, device=views.device)
        texts, pairs = self._all(facts, [1] * self.world.size).T.tolist()
        whole: Tensor = _Gathered.apply(views, texts, self.world, self.traffic)  # type: ignore[no-untyped-call]
        first = sum(texts[: self.world.rank])
        both = self._all(torch.stack([positives.rows + first, positives.labels], dim=1), pairs)
        of_texts, weights = (
            None if part is None else self._all(part, texts) for part in (positives.texts, positives.weights)
        )
        return whole, Positives.from_pairs(both[:, 0], both[:, 1], of_texts, weights)

    def share_random_state(self, device: torch.device) -> None:
        """Gives torch's generator of the device the state that it has in the main process."""
        if self.world.size == 1:
            return
        on_gpu = device.type == "cuda"
        state = torch.cuda.get_rng_state(device) if on_gpu else torch.get_rng_state()
        shared = broadcast_object(state, self.world)
        if on_gpu:
            torch.cuda.set_rng_state(shared, device)
        else:
            torch.set_rng_state(shared)

    def _all(self, rows: Tensor, sizes: list[int]) -> Tensor:
        return gather_rows(rows, sizes, self.world, self.traffic)


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
