"""Optimizers for tables of which a step updates a few rows, without gradient tensors of the tables' size."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, TypeAlias

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.heads.abilities import RowGradients, having
from megalabel.heads.base import Head
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.candidates.row_adagrad import adagrad_state, row_adagrad
from megalabel.kernels.candidates.row_step import adam_state, row_adam, row_sgd
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw

State: TypeAlias = dict[str, Tensor]


class RowOptimizer(ABC):
    """Updates the tables of a head that keeps its gradients factored (`RowGradients`).

    A step sums the gradients of all micro-batches since the last step row by row: no gradient of a table's size is
    stored, and the time does not depend on the number of labels. `param_groups`, `step`, `zero_grad` and
    `state_dict` are as in torch's optimizers.

    Narrow weights are rounded stochastically, by random numbers that `seed`, the table, the row and the number of
    the step decide.

    Attributes:
        takes_narrow: whether the optimizer supports narrow weights.
    """

    takes_narrow: ClassVar[bool] = False

    def __init__(self, head: Head, lr: float, seed: int = 0) -> None:
        self.parts = inside = having(head, RowGradients)
        if not inside:
            raise SettingError(
                f"{type(head).__name__} does not keep its gradients by row",
                wanted="a head whose loss scores candidates, such as CascadeHead",
                next_step="use torch.optim.SGD or adamw with this head",
            )
        narrow = [part.weight_type.name for part in inside if part.weight_type.is_narrow]
        if narrow and not self.takes_narrow:
            raise SettingError(
                f"{type(self).__name__} for weights in {narrow[0]}",
                wanted="weights in float32, or an optimizer that rounds stochastically",
                next_step="use RowSGD or RowAdagrad",
                where="weights",
            )
        self.seed = seed
        self.param_groups: list[dict[str, Any]] = [{"params": list(self._parameters()), "lr": lr}]
        self.row_gradients: list[list[TableGradient]] = [[] for _ in self.tables]
        start = 0
        for part in inside:
            stop = start + len(part.tables())
            part.row_gradients = self.row_gradients[start:stop]
            start = stop
        self.state: list[State] = [{} for _ in self.tables]

    @property
    def tables(self) -> list[tuple[Tensor | NarrowTable, Tensor]]:
        """The weights and biases of all tables, where they now are."""
        return [pair for part in self.parts for pair in part.tables()]

    def _parameters(self) -> Iterator[Tensor]:
        for weight, bias in self.tables:
            yield weight.codes if isinstance(weight, NarrowTable) else weight
            yield bias

    @torch.no_grad()
    def step(self, scale: float = 1.0) -> None:
        """Updates the rows that were candidates; gradients are divided by `scale` first.

        A scaled step with inf or NaN is skipped, as by torch's gradient scaler.
        """
        gradients = [gradient for level in self.row_gradients for gradient in level]
        if scale != 1.0:
            for gradient in gradients:
                gradient.scale_(1 / scale)
            if not all(bool(gradient.cells.isfinite().all()) for gradient in gradients):
                return
        for i, (weight, bias) in enumerate(self.tables):
            level, state = self.row_gradients[i], self.state[i]
            if level:
                fetch_state(state, level)
                self._step(weight, bias, level, state, self._draw(i, weight, state))

    def _draw(self, i: int, weight: Tensor | NarrowTable, state: State) -> Draw | None:
        """The random numbers of a step of narrow weights, counted in the state: a resumed run rounds alike."""
        if not isinstance(weight, NarrowTable):
            return None
        state["roundings"] = state.get("roundings", torch.zeros((), dtype=torch.int64)) + 1
        return Draw(self.seed + (i << 40), int(state["roundings"]))

    @abstractmethod
    def _step(
        self,
        weight: Tensor | NarrowTable,
        bias: Tensor,
        gradients: list[TableGradient],
        state: State,
        draw: Draw | None,
    ) -> None:
        """One table's step; `draw` for narrow weights."""

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Removes the gradients."""
        for level in self.row_gradients:
            level.clear()

    def state_dict(self) -> dict[str, Any]:
        """The state of each table in the order of the levels, and the learning rate."""
        return {"state": self.state, "lr": self.param_groups[0]["lr"]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Loads the result of `state_dict`; tensors are moved to the devices of the tables."""
        self.param_groups[0]["lr"] = state_dict["lr"]
        self.state = [
            {name: value.to(weight.device) for name, value in state.items()}
            for (weight, _), state in zip(self.tables, state_dict["state"], strict=True)
        ]


def fetch_state(state: State, gradients: list[TableGradient]) -> None:
    """Has the system read the rows of the state that a step needs, where it is on disk."""
    for tensor in state.values():
        for gradient in gradients:
            gradient.candidates.fetch(tensor)


class RowAdam(RowOptimizer):
    """AdamW (Loshchilov and Hutter, 2019) on candidate rows, with a bias correction by the steps of each row.

    The moments and weights of a row that is not a candidate do not change, so that the first step of a rare label
    has full size. Weight decay does not apply to biases (CascadeXML). The state has two moments per weight and a
    step count per row.
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
        self,
        weight: Tensor | NarrowTable,
        bias: Tensor,
        gradients: list[TableGradient],
        state: State,
        draw: Draw | None,
    ) -> None:
        assert not isinstance(weight, NarrowTable)
        if not state:
            state.update(adam_state(weight, bias))
        lr = self.param_groups[0]["lr"]
        row_adam(weight, bias, state, gradients, lr, self.betas, self.eps, self.weight_decay)


class RowAdagrad(RowOptimizer):
    """Row-wise Adagrad on candidate rows (DLRM, Naumov et al., 2019), with decoupled weight decay.

    The state is one number per row and one per bias. Weight decay does not apply to biases.
    """

    takes_narrow = True

    def __init__(self, head: Head, lr: float, weight_decay: float = 0.0, eps: float = 1e-8, seed: int = 0) -> None:
        super().__init__(head, lr, seed)
        self.weight_decay, self.eps = weight_decay, eps

    def _step(
        self,
        weight: Tensor | NarrowTable,
        bias: Tensor,
        gradients: list[TableGradient],
        state: State,
        draw: Draw | None,
    ) -> None:
        if state.keys() <= {"roundings"}:
            state.update(adagrad_state(weight, bias))
        lr = self.param_groups[0]["lr"]
        row_adagrad(weight, bias, state, gradients, lr, self.eps, self.weight_decay, draw)


class RowSGD(RowOptimizer):
    """SGD on candidate rows, without momentum and without state."""

    takes_narrow = True

    def __init__(self, head: Head, lr: float, weight_decay: float = 0.0, seed: int = 0) -> None:
        super().__init__(head, lr, seed)
        self.weight_decay = weight_decay

    def _step(
        self,
        weight: Tensor | NarrowTable,
        bias: Tensor,
        gradients: list[TableGradient],
        state: State,
        draw: Draw | None,
    ) -> None:
        row_sgd(weight, bias, gradients, self.param_groups[0]["lr"], self.weight_decay, draw)
