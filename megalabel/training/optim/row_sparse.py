"""Optimizers of tables of which a step touches a few rows: a row's gradient is made and spent at once."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, TypeAlias

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.heads.abilities import RowGradients, having
from megalabel.heads.base import Head
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.candidates.row_step import adam_state, row_adam, row_sgd

State: TypeAlias = dict[str, Tensor]


class RowOptimizer(ABC):
    """Steps the tables of a head that keeps its gradients factored (`RowGradients`).

    The gradients of all micro-batches since the last step are summed row by row while the step is made: nothing of
    a table's size is written but its touched rows, and a step's time does not depend on the number of labels.
    `param_groups`, `step`, `zero_grad` and `state_dict` are as torch's.
    """

    def __init__(self, head: Head, lr: float) -> None:
        inside = having(head, RowGradients)
        if not inside:
            raise SettingError(
                f"{type(head).__name__} does not keep its gradients by row",
                wanted="a head whose loss scores candidates, such as CascadeHead",
                next_step="use sgd or adamw with this head",
            )
        self.tables: list[tuple[Tensor, Tensor]] = [pair for part in inside for pair in part.tables()]
        self.param_groups: list[dict[str, Any]] = [{"params": [t for pair in self.tables for t in pair], "lr": lr}]
        self.row_gradients: list[list[TableGradient]] = [[] for _ in self.tables]
        start = 0
        for part in inside:
            stop = start + len(part.tables())
            part.row_gradients = self.row_gradients[start:stop]
            start = stop
        self.state: list[State] = [{} for _ in self.tables]

    @torch.no_grad()
    def step(self, scale: float = 1.0) -> None:
        """Moves the rows that were candidates; gradients were multiplied by `scale`, which is undone first.

        A scaled step with inf or NaN is left out, as a loss scaler does.
        """
        gradients = [gradient for level in self.row_gradients for gradient in level]
        if scale != 1.0:
            for gradient in gradients:
                gradient.scale_(1 / scale)
            if not all(bool(gradient.cells.isfinite().all()) for gradient in gradients):
                return
        for (weight, bias), level, state in zip(self.tables, self.row_gradients, self.state, strict=True):
            if level:
                self._step(weight, bias, level, state)

    @abstractmethod
    def _step(
        self, weight: Tensor, bias: Tensor, gradients: list[TableGradient], state: dict[str, Tensor]
    ) -> None:
        """One table's step."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forgets the gradients."""
        for level in self.row_gradients:
            level.clear()

    def state_dict(self) -> dict[str, Any]:
        """What is kept of each table, in the order of the levels, and the rate."""
        return {"state": self.state, "lr": self.param_groups[0]["lr"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """What `state_dict` gave; tensors go where the tables are."""
        self.param_groups[0]["lr"] = state_dict["lr"]
        self.state = [
            {name: value.to(weight.device) for name, value in state.items()}
            for (weight, _), state in zip(self.tables, state_dict["state"], strict=True)
        ]


class RowAdam(RowOptimizer):
    """AdamW (Loshchilov and Hutter, 2019) of touched rows, each corrected for its own number of steps.

    A row that is no candidate keeps its moments and does not decay: the first time that a rare label is met it
    takes a whole step. Decay is of weights, not of biases (CascadeXML). Beside the tables it keeps two moments of
    each number and a count of each row.
    """

    def __init__(
        self,
        head: Head,
        lr: float,
        weight_decay: float = 0.0,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-6,
    ) -> None:
        super().__init__(head, lr)
        beta1, beta2 = betas
        self.weight_decay, self.betas, self.eps = weight_decay, (beta1, beta2), eps

    def _step(
        self, weight: Tensor, bias: Tensor, gradients: list[TableGradient], state: dict[str, Tensor]
    ) -> None:
        if not state:
            state.update(adam_state(weight, bias))
        lr = self.param_groups[0]["lr"]
        row_adam(weight, bias, state, gradients, lr, self.betas, self.eps, self.weight_decay)


class RowSGD(RowOptimizer):
    """SGD of touched rows, without momentum: nothing is kept beside the tables."""

    def __init__(self, head: Head, lr: float, weight_decay: float = 0.0) -> None:
        super().__init__(head, lr)
        self.weight_decay = weight_decay

    def _step(
        self, weight: Tensor, bias: Tensor, gradients: list[TableGradient], state: dict[str, Tensor]
    ) -> None:
        row_sgd(weight, bias, gradients, self.param_groups[0]["lr"], self.weight_decay)
