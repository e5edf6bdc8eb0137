"""What an update rule is: how the backward pass of a loss changes the weights of all labels in place."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from megalabel.errors import SettingError


@dataclass(frozen=True)
class StepContext:
    """Where a micro-batch stands within its optimizer step.

    A loss is computed for one context, which its backward pass hands to the update rule.

    Attributes:
        first: whether this is the first micro-batch of a step.
        last: whether this is the last micro-batch of a step; weights change only there.
        loss_scale: the factor by which a loss scaler multiplied the loss for the sake of narrow types. It is
            divided out of the gradients of the weights, and of those alone.
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


ONLY_PART = StepContext()  # of a step that consists of one micro-batch


class LabelRows(NamedTuple):
    """The labels `start` to `stop` − 1 of a head, whose parameters a rule changes.

    Attributes:
        weight: (L, D), the weights of all labels; None where they are frozen.
        bias: (L,), likewise; None also where there is none.
        start: the first label.
        stop: the label after the last.
    """

    weight: Tensor | None
    bias: Tensor | None
    start: int
    stop: int

    @property
    def rows(self) -> slice:
        """The labels as an index into weight, bias and all that is kept beside them."""
        return slice(self.start, self.stop)


class UpdateRule(ABC):
    """Changes the weights of a head in place, chunk by chunk, in the backward pass of its loss.

    `all_labels_loss` and `fan_in_loss` take a rule; `Fused` gives one to each head that updates itself. A rule of
    one's own implements `apply`, names in KEPT what it keeps, and lists in WEIGHT_DTYPES the types of weights that
    it can change. `SGDRule` and `AdamRule` are the rules of this package; compiled bodies run them within their
    own passes, and call the methods of all other rules.

    For each micro-batch, `prepare` is called once; then `update`, or `apply` where the gradient by weights is at
    hand, is called once per chunk of labels. Chunks do not overlap, cover all labels and may be handled by several
    threads at once, so that a rule writes only into the rows that it was given.

    A rule holds hyperparameters, which may change between steps, and what it keeps between steps. What belongs to
    a micro-batch is the `StepContext` that each method receives.

    Attributes:
        KEPT: the names of the attributes that outlive a step: tensors and numbers, saved in checkpoints.
        WEIGHT_DTYPES: the types of weights that the rule can change. Plain SGD and Adam lose updates in weights of
            16 bits; a rule that rounds stochastically, for example, may allow them.
        lr: the learning rate, set by the optimizer before each step.
    """

    KEPT: ClassVar[tuple[str, ...]] = ()
    WEIGHT_DTYPES: ClassVar[tuple[torch.dtype, ...]] = (torch.float32, torch.float64)
    lr: float

    def prepare(  # noqa: B027 (a hook that may stay empty)
        self, weight: Tensor | None, bias: Tensor | None, step: StepContext
    ) -> None:
        """Called once per micro-batch, before its chunks: makes buffers and counts steps. Usually nothing.

        Args:
            weight: (L, D), or None where the weights are frozen.
            bias: (L,), or None where it is frozen or absent.
            step: the context of the micro-batch.
        """

    @abstractmethod
    def apply(self, labels: LabelRows, gw: Tensor | None, gb: Tensor | None, step: StepContext) -> None:
        """Updates a chunk of labels from the gradients of one micro-batch.

        Gradients of the micro-batches of a step are to be summed, and the weights to change at the last.

        Args:
            labels: which labels, and the parameters.
            gw: (n, D), the gradient by the chunk's weights; None where `labels.weight` is. It may be overwritten.
            gb: (n,), likewise.
            step: the context of the micro-batch.
        """

    def update(self, labels: LabelRows, g: Tensor, x: Tensor, step: StepContext, times: float = 1.0) -> None:
        """Updates a chunk of labels from the gradient by logits; the gradient by weights is times · g x.

        Args:
            labels: which labels, and the parameters.
            g: (n, B), the gradient of the loss by the chunk's logits, in the type of the products.
            x: (B, D), the embeddings, in the same type.
            step: the context of the micro-batch.
            times: a factor of the gradients.
        """
        gw = gb = None
        if labels.weight is not None:
            gw = torch.mm(g, x).to(accumulator_dtype(labels.weight.dtype)).mul_(times)
        if labels.bias is not None:
            gb = g.sum(1, dtype=accumulator_dtype(labels.bias.dtype)).mul_(times)
        self.apply(labels, gw, gb, step)

    def weight_state(self) -> list[Tensor]:
        """What is kept of each weight between steps: tensors of the weights' shape."""
        return []


def accumulator_dtype(dtype: torch.dtype) -> torch.dtype:
    """The type in which gradients of weights of a type are summed: never narrower than float32."""
    return torch.promote_types(dtype, torch.float32)


def buffer_like(parameter: Tensor | None, buffer: Tensor | None) -> Tensor | None:
    """The buffer of a parameter, contiguous and on its device: zeros if there is none yet.

    Without a parameter, which means that it is frozen, the buffer stays as it is.

    Raises:
        SettingError: the buffer has another shape than the parameter.
    """
    if parameter is None:
        return buffer
    if buffer is None:
        return torch.zeros_like(parameter, memory_format=torch.contiguous_format)
    if buffer.shape != parameter.shape:
        raise SettingError(
            f"an optimizer buffer {tuple(buffer.shape)} for weights {tuple(parameter.shape)}",
            wanted="the buffers of the head that is trained",
            next_step="go on from the checkpoint of this head, or begin with an empty rule",
        )
    return buffer.to(parameter).contiguous()  # the head may have moved since
