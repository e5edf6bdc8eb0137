"""The base class of update rules, with which the backward pass of a loss updates a head's weights in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.storage.tables import zeros_beside


@dataclass(frozen=True)
class StepContext:
    """The position of a micro-batch within its optimizer step.

    A loss is computed for one context, which its backward pass passes to the update rule.

    Attributes:
        first: whether this is the first micro-batch of a step.
        last: whether this is the last micro-batch of a step, after which weights are updated.
        loss_scale: the factor by which a gradient scaler for mixed precision multiplied the loss. Only the
            gradients of the head's weights are divided by it.
    """

    first: bool = True
    last: bool = True
    loss_scale: float = 1.0

    @classmethod
    def of_part(cls, part: int, parts: int, loss_scale: float = 1.0) -> StepContext:
        """The context of micro-batch `part`, counted from 0, of `parts`."""
        return cls(part == 0, part == parts - 1, loss_scale)

    @property
    def single(self) -> bool:
        """Whether the step consists of this micro-batch alone."""
        return self.first and self.last


ONLY_PART = StepContext()  # the context of a step with one micro-batch


class LabelRows(NamedTuple):
    """The labels `start` to `stop` − 1 of a head, and the head's parameters.

    Attributes:
        weight: (L, D), the weights of all labels; None if they are frozen.
        bias: (L,), the biases of all labels; None if they are frozen or absent.
        start: the first label.
        stop: the label after the last.
        table: the weights again where they are stored in a narrow type; `weight` is then their codes.
        values: (n, D) float32, the labels' weights read from `table`; a rule may overwrite them.
    """

    weight: Tensor | None
    bias: Tensor | None
    start: int
    stop: int
    table: NarrowTable | None = None
    values: Tensor | None = None

    @property
    def rows(self) -> slice:
        """The labels as an index into weight, bias and optimizer state."""
        return slice(self.start, self.stop)


class UpdateRule(ABC):
    """Updates the weights of a head in place, chunk by chunk, in the backward pass of its loss.

    `all_labels_loss` and `fan_in_loss` take a rule; `Fused` passes one to each head that updates its weights in
    the backward pass. A user-defined rule implements `apply`, names its state in KEPT, and lists in WEIGHT_DTYPES
    the dtypes of weights that it supports. Compiled implementations fuse `SGDRule`, `AdamRule` and `AdagradRule`,
    and the narrow forms of the first and the last, into their passes, and call the methods of all other rules.

    For each micro-batch, `prepare` is called once; then, once per chunk of labels, `update` is called, or `apply`
    if the gradient with respect to the weights is already computed. Chunks do not overlap, cover all labels and
    may be processed by several threads at once, so a rule must write only to the rows that it receives.

    A rule holds hyperparameters, which may change between steps, and its state. What concerns a single micro-batch
    is in the `StepContext` that each method receives.

    Attributes:
        KEPT: the names of the attributes that form the state: tensors and numbers, saved in checkpoints.
        WEIGHT_DTYPES: the dtypes of weights that the rule supports. Plain SGD and Adam lose updates in narrow
            weights; `NarrowSGDRule` and `NarrowAdagradRule` round stochastically, and support those of
            `kernels/core/dtypes.py`.
        lr: the learning rate, set by the optimizer before each step.
    """

    KEPT: ClassVar[tuple[str, ...]] = ()
    WEIGHT_DTYPES: ClassVar[tuple[torch.dtype, ...]] = (torch.float32, torch.float64)
    lr: float

    def prepare(  # noqa: B027 (a hook that may stay empty)
        self, weight: Tensor | None, bias: Tensor | None, step: StepContext
    ) -> None:
        """Called once per micro-batch before its chunks, to allocate buffers and count steps. Does nothing here.

        Args:
            weight: (L, D), or None if the weights are frozen.
            bias: (L,), or None if it is frozen or absent.
            step: the context of the micro-batch.
        """

    @abstractmethod
    def apply(self, labels: LabelRows, gw: Tensor | None, gb: Tensor | None, step: StepContext) -> None:
        """Updates a chunk of labels with the gradients of one micro-batch.

        An implementation sums the gradients of the micro-batches of a step and updates the weights after the last.

        Args:
            labels: the labels and the parameters.
            gw: (n, D), the gradient of the chunk's weights; None if `labels.weight` is. It may be overwritten.
            gb: (n,), the gradient of the chunk's biases; None if `labels.bias` is. It may be overwritten.
            step: the context of the micro-batch.
        """

    def update(self, labels: LabelRows, g: Tensor, x: Tensor, step: StepContext, times: float = 1.0) -> None:
        """Updates a chunk of labels with the gradient of the logits; the gradient of the weights is times · g x.

        Args:
            labels: the labels and the parameters.
            g: (n, B), the gradient of the loss with respect to the chunk's logits, in the dtype of the products.
            x: (B, D), the embeddings, in the same dtype.
            step: the context of the micro-batch.
            times: a factor of the gradients.
        """
        gw = gb = None
        if labels.weight is not None:
            p = labels.weight if labels.values is None else labels.values
            gw = torch.mm(g, x).to(accumulator_dtype(p.dtype)).mul_(times)
        if labels.bias is not None:
            gb = g.sum(1, dtype=accumulator_dtype(labels.bias.dtype)).mul_(times)
        self.apply(labels, gw, gb, step)

    def weight_state(self) -> list[Tensor]:
        """The state of each weight: tensors of the weights' shape."""
        return []

    def weights_replaced(  # noqa: B027 (a hook that may stay empty)
        self, slots: Tensor, group: int
    ) -> None:
        """Called when a sparse layer has replaced weights, to drop what belonged to them. Does nothing here.

        States that `weight_state` returns are not its concern: the layer keeps or clears them as it is set.

        Args:
            slots: (M, F) bool, the connections that are new.
            group: the number of neighboring labels that share a row of `slots`.
        """


def check_weight_type(weight: Tensor, rule: UpdateRule | None) -> None:
    """Raises SettingError for weights that cannot be trained: narrow dtypes, unless the rule supports them.

    Args:
        weight: the weights, or the codes of narrow ones.
        rule: the rule that is to train them; None for ordinary gradients.
    """
    trained = (torch.float32, torch.float64) if rule is None else rule.WEIGHT_DTYPES
    if weight.dtype in trained or (weight.is_floating_point() and not torch.is_grad_enabled()):
        return
    raise SettingError(
        f"weights of type {weight.dtype}",
        wanted=" or ".join(map(str, trained)) + ", since small updates vanish in narrower types",
        next_step="train narrow weights with FusedSGD or FusedAdagrad, or keep the head in float32",
        where="weight",
    )


def accumulator_dtype(dtype: torch.dtype) -> torch.dtype:
    """The dtype in which gradients of weights of the given dtype are summed: at least float32."""
    return torch.promote_types(dtype, torch.float32)


def buffer_like(
    parameter: Tensor | None, buffer: Tensor | None, dtype: torch.dtype | None = None
) -> Tensor | None:
    """The buffer of a parameter, contiguous and on the parameter's device; zeros if there is none yet.

    dtype: that of the buffer; None for the parameter's.

    If the parameter is None, because it is frozen, the buffer is returned unchanged.

    Raises:
        SettingError: the shapes of buffer and parameter differ.
    """
    if parameter is None:
        return buffer
    if buffer is None:
        return zeros_beside(parameter, dtype=dtype)
    if buffer.shape != parameter.shape:
        raise SettingError(
            f"an optimizer buffer {tuple(buffer.shape)} for weights {tuple(parameter.shape)}",
            wanted="buffers of the head that is trained",
            next_step="resume from a checkpoint of this head, or start with a new rule",
        )
    return buffer.to(
        parameter.device, dtype or parameter.dtype
    ).contiguous()  # the head may have been moved to another device
