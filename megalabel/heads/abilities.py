"""What some heads can do beyond a loss and a ranking: base classes that are found by `isinstance`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.updates.rule import ONLY_PART, StepContext, UpdateRule


class UpdatesInBackward:
    """A head whose backward pass can update its own weights, without a gradient as large as they are.

    Attributes:
        update_rule: how it does so, set by `FusedSGD` or `FusedAdam`; None where gradients are torch's.
        step_context: where the next micro-batch stands within its optimizer step; set by the same optimizers, and
            passed to the kernel when the loss is computed.
        loss_every: the value of its loss is computed in every n-th step; in between it is NaN.
    """

    update_rule: UpdateRule | None = None
    step_context: StepContext = ONLY_PART
    loss_every: int = 1


class RowGradients(ABC):
    """A head that can keep the gradients of its tables factored, for an optimizer that moves only touched rows.

    Attributes:
        row_gradients: a list of gradients for each of the `tables`, set by a `RowOptimizer`, which empties it;
            None where gradients are torch's.
    """

    row_gradients: list[list[TableGradient]] | None = None

    @abstractmethod
    def tables(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (n, D) and biases (n,) whose gradients are factored."""


class LabelPrior(ABC):
    """A head whose biases can start at the labels' frequencies."""

    @abstractmethod
    def init_prior(self, label_counts: Tensor, n_texts: int) -> None:
        """Starts the biases at the frequencies of (L,) counts among `n_texts` training texts."""


class LabelViews(Protocol):
    """Label ids to the views of their texts, such as `megalabel.encoders.labels.LabelTexts`."""

    dim: int
    n_views: int

    def __len__(self) -> int:
        """L."""

    def __call__(self, ids: Tensor) -> Tensor:
        """ids (n,) int64 to (n, V, D)."""

    def all_views(self, batch_size: int = 256) -> Tensor:
        """The views of all labels, without dropout and without gradients: (L, V, D) float32."""


class BindsLabels:
    """A head whose label vectors are made from the labels' texts by an encoder, as in dual encoders.

    The encoder is no submodule of the head: the model saves it beside the head, or it is the texts' own.
    """

    _bound: tuple[LabelViews, ...] = ()

    def bind(self, label_texts: LabelViews) -> None:
        """Takes the labels' encoder; called when the head becomes part of a recipe or a model."""
        self._bound = (label_texts,)  # in a tuple: as an attribute of its own torch would take it for a submodule

    @property
    def label_texts(self) -> LabelViews:
        """What `bind` was given; SettingError where it was not called."""
        if not self._bound:
            raise SettingError(
                f"a {type(self).__name__} without label texts",
                wanted="an encoder of the labels' texts",
                next_step="call bind(LabelTexts(store, encoder)) first",
            )
        return self._bound[0]


Ability = TypeVar("Ability")


def having(module: nn.Module, ability: type[Ability]) -> list[Ability]:
    """The module itself and all modules inside of it that have an ability, in their order."""
    return [part for part in module.modules() if isinstance(part, ability)]


class DenseGradient(torch.autograd.Function):
    """Hands the factored gradient of a table to torch as a dense tensor, where no row optimizer takes it.

    `DenseGradient.apply(value, weight, bias, gradient)` returns `value`; its backward pass gives weight (n, D) and
    bias (n,) the gradient that `gradient`, a `TableGradient`, holds in parts.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: Tensor, bias: Tensor, gradient: TableGradient) -> Tensor:
        """The value, as it is."""
        # A copy, as each backward pass rescales the gradient's own cells.
        ctx.gradient = TableGradient(gradient.views, gradient.candidates, gradient.cells)
        ctx.rows = len(weight)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """The gradients of value, weight and bias."""
        of_weight, of_bias = ctx.gradient.dense(ctx.rows)
        return upstream, of_weight * upstream, of_bias * upstream, None
