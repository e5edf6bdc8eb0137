"""Adam on the rows that a batch touched: a step over a table of token vectors costs what its tokens cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from megalabel.errors import SettingError


class LazyAdam(Optimizer):
    """Adam (Kingma and Ba, 2015) for tables (V, D) with sparse gradients.

    Moments and step count of a row move only when the row has a gradient, so a token that is rare is
    corrected for the steps it took, not for the run's; torch's SparseAdam counts the run's, which makes
    a late first step three times too long.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, {"lr": lr, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Moves the rows that have a gradient."""
        for group in self.param_groups:
            for table in group["params"]:
                if table.grad is not None:
                    self._step(table, group)

    def _step(self, table: Tensor, group: dict[str, Any]) -> None:
        if not table.grad.is_sparse:  # type: ignore[union-attr]
            raise SettingError(
                "a dense gradient",
                wanted="the sparse gradient of an embedding with sparse=True",
                next_step="use adamw for this parameter",
            )
        gradient = table.grad.coalesce()  # type: ignore[union-attr]
        rows, g = gradient.indices()[0], gradient.values()
        if not len(rows):
            return
        state, (beta1, beta2) = self.state[table], group["betas"]
        if not state:
            state["mean"], state["square"] = torch.zeros_like(table), torch.zeros_like(table)
            state["steps"] = torch.zeros(table.shape[0], device=table.device)
        steps = state["steps"][rows] + 1
        mean = state["mean"][rows].lerp_(g, 1 - beta1)
        square = state["square"][rows].lerp_(g * g, 1 - beta2)
        for name, value in (("steps", steps), ("mean", mean), ("square", square)):
            state[name][rows] = value
        mean /= (1 - beta1**steps).unsqueeze(1)
        square /= (1 - beta2**steps).unsqueeze(1)
        table.index_add_(0, rows, mean / (square.sqrt_() + group["eps"]), alpha=-group["lr"])
