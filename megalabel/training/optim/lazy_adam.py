"""Adam on the rows that have a gradient, so that a step on token embeddings visits only those of the batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from megalabel.kernels.updates.adam import AdamSettings, adam_step_

BLOCK = 1024  # rows updated at a time, which limits the temporary memory of a step


class LazyAdam:
    """Adam (Kingma and Ba, 2015) for tables (V, D) with sparse gradients, and for anything with dense ones.

    The moments and the step count of a row change only when the row has a gradient, so that the bias correction of
    a rare token uses its own number of steps. torch's SparseAdam uses the number of steps of the run, which makes
    a late first step three times too long. A dense gradient updates every row. There is no weight decay.

    It has `param_groups`, `step`, `zero_grad` and `state_dict` like torch's optimizers, but is not a subclass of
    them: creating the first torch optimizer imports torch's compiler, which takes 70 MB and a second.
    """

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 1e-3,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        self.param_groups: list[dict[str, Any]] = [{"params": list(parameters), "lr": lr}]
        beta1, beta2 = betas
        self.betas, self.eps = (beta1, beta2), eps
        self.state: list[dict[str, Tensor]] = [{} for _ in self.param_groups[0]["params"]]

    @property
    def settings(self) -> AdamSettings:
        """The hyperparameters of the next step."""
        return AdamSettings(self.param_groups[0]["lr"], self.betas, self.eps)

    @torch.no_grad()
    def step(self) -> None:
        """Updates the rows that have a gradient."""
        for parameter, state in zip(self.param_groups[0]["params"], self.state, strict=True):
            if parameter.grad is not None:
                self._step(parameter, state)

    def _step(self, parameter: Tensor, state: dict[str, Tensor]) -> None:
        gradient = parameter.grad
        assert gradient is not None
        if not state:
            state["mean"], state["square"] = torch.zeros_like(parameter), torch.zeros_like(parameter)
            height = parameter.shape[0] if parameter.ndim else 1
            state["steps"] = torch.zeros(height, device=parameter.device)
        if not gradient.is_sparse:
            self._move(parameter, state, gradient, None)
            return
        gradient = gradient.coalesce()
        rows, values = gradient.indices()[0], gradient.values()
        for start in range(0, len(rows), BLOCK):
            block = slice(start, start + BLOCK)
            self._move(parameter, state, values[block], rows[block])

    def _move(self, parameter: Tensor, state: dict[str, Tensor], gradient: Tensor, rows: Tensor | None) -> None:
        """Adam's step for a whole parameter, or for rows (n,) with gradients (n, D)."""
        tensors = [parameter, *(state[name] for name in ("mean", "square", "steps"))]
        moved = tensors if rows is None else [t.index_select(0, rows) for t in tensors]
        p, mean, square, steps = moved
        steps += 1
        adam_step_(p, mean, square, gradient, steps, self.settings)
        if rows is not None:
            for whole, part in zip(tensors, moved, strict=True):
                whole.index_copy_(0, rows, part)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Removes the gradients."""
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    def state_dict(self) -> dict[str, Any]:
        """Moments and step counts in the order of the parameters, and the learning rate."""
        return {"state": self.state, "lr": self.param_groups[0]["lr"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads the result of `state_dict`; tensors are moved to the devices of the parameters."""
        self.param_groups[0]["lr"] = state_dict["lr"]
        places = [parameter.device for parameter in self.param_groups[0]["params"]]
        self.state = [
            {name: value.to(device) for name, value in state.items()}
            for state, device in zip(state_dict["state"], places, strict=True)
        ]
