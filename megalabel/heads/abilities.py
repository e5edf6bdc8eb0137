"""Optional abilities of heads, as base classes that are found with `isinstance`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import torch
from torch import Tensor, nn

from megalabel.distributed.collectives import Traffic
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.index.base import LabelTable
from megalabel.kernels.candidates.candidates import TableGradient
from megalabel.kernels.core.dtypes import FLOAT32, WeightType
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.updates.rule import ONLY_PART, StepContext, UpdateRule


class StoresWeights:
    """A head that can store its weights in a narrow type, in which they have no gradients.

    Attributes:
        weight_type: the type in which its weights are stored. Narrow weights need an optimizer that rounds them.
    """

    weight_type: WeightType = FLOAT32

    def largest_scaled(self) -> float:
        """An upper bound of the absolute weights where they are stored with a scale; 0 where they are not."""
        return 0.0


class UpdatesInBackward(StoresWeights):
    """A head whose backward pass can update its own weights, without a gradient of their size.

    Attributes:
        update_rule: the rule, set by an optimizer such as `FusedSGD`; None if weights get ordinary gradients.
        step_context: the position of the next micro-batch within its optimizer step; set by the same optimizers,
            and passed to the kernel that computes the loss.
        loss_every: the value of the loss is computed only in every n-th step; in the other steps it is NaN.
    """

    update_rule: UpdateRule | None = None
    step_context: StepContext = ONLY_PART
    loss_every: int = 1


class RowGradients(StoresWeights, ABC):
    """A head that can keep the gradients of its tables factored, for optimizers that update single rows.

    Attributes:
        row_gradients: a list of gradients for each of the `tables`, set by a `RowOptimizer`, which also empties
            the lists; None if weights get ordinary gradients.
    """

    row_gradients: list[list[TableGradient]] | None = None

    @abstractmethod
    def tables(self) -> Sequence[tuple[Tensor | NarrowTable, Tensor]]:
        """The weights (n, D) and biases (n,) of each table."""


class LabelPrior(ABC):
    """A head whose biases can be initialized from label frequencies."""

    @abstractmethod
    def init_prior(self, label_counts: Tensor, n_texts: int) -> None:
        """Initializes the biases from (L,) counts among `n_texts` training texts."""


class Searchable(ABC):
    """A head whose scores are inner products with a vector per label, which an index can search."""

    @abstractmethod
    def label_table(self) -> LabelTable:
        """The label vectors (L, D) and biases (L,)."""

    @abstractmethod
    def queries(self, views: Tensor) -> Tensor:
        """What is multiplied with the label vectors: views (B, V, D) to (B, D)."""


class LabelViews(Protocol):
    """Maps label ids to the views of the labels' texts, such as `megalabel.encoders.labels.LabelTexts`."""

    dim: int
    n_views: int

    def __len__(self) -> int:
        """The number of labels, L."""

    def __call__(self, ids: Tensor) -> Tensor:
        """Maps ids (n,) int64 to views (n, V, D)."""

    def all_views(self, batch_size: int = 256) -> Tensor:
        """The views of all labels, without dropout and without gradients: (L, V, D) float32."""


class BindsLabels:
    """A head whose label vectors are encoded from the labels' texts, as in dual encoders.

    The encoder is not a submodule of the head: it is saved as a part of the model, or is that of the texts.
    """

    _bound: tuple[LabelViews, ...] = ()

    def bind(self, label_texts: LabelViews) -> None:
        """Sets the labels' encoder; called when the head becomes part of a recipe or a model."""
        self._bound = (label_texts,)  # in a tuple, since torch would register a module as a submodule

    @property
    def label_texts(self) -> LabelViews:
        """The argument of `bind`; SettingError if it was not called."""
        if not self._bound:
            raise SettingError(
                f"a {type(self).__name__} that is not bound to label texts",
                wanted="an encoder of the labels' texts",
                next_step="call bind(LabelTexts(store, encoder)) first",
            )
        return self._bound[0]


class OwnLabels(ABC):
    """A head of which each process of a job holds the tensors of its own labels, such as `LabelParallel`.

    Its `loss` takes the views of the process's own texts and the positives of all texts of the batch, and is this
    process's part of the loss. Its `topk` takes the same views in every process. All processes call them, and
    `metrics`, at the same time.

    Attributes:
        world: the processes.
        traffic: counts the bytes that are sent.
    """

    world: World
    traffic: Traffic

    @property
    @abstractmethod
    def holder(self) -> Any:
        """The head that has the tensors: itself, or one inside. Those that are not `replicated` have own rows."""


Ability = TypeVar("Ability")


def having(module: nn.Module, ability: type[Ability]) -> list[Ability]:
    """The modules among `module` and all modules inside it that have an ability, in their order."""
    return [part for part in module.modules() if isinstance(part, ability)]


class DenseGradient(torch.autograd.Function):
    """Passes the factored gradient of a table to autograd as a dense tensor.

    Used without a row optimizer. `DenseGradient.apply(value, weight, bias, gradient)` returns `value`; its
    backward pass gives weight (n, D) and bias (n,) the gradients that the `TableGradient` `gradient` holds in
    factored form.
    """

    @staticmethod
    def forward(ctx: Any, value: Tensor, weight: Tensor, bias: Tensor, gradient: TableGradient) -> Tensor:
        """Returns the value unchanged."""
        # A copy, since the backward pass rescales the cells in place.
        ctx.gradient = TableGradient(gradient.views, gradient.candidates, gradient.cells)
        ctx.rows = len(weight)
        return value.clone()

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        """Returns the gradients of value, weight and bias."""
        of_weight, of_bias = ctx.gradient.dense(ctx.rows)
        return upstream, of_weight * upstream, of_bias * upstream, None
