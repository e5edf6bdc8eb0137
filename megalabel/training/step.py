"""Computes the gradients of a batch: in micro-batches, or with one loss over a batch larger than memory."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from megalabel.errors import SettingError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from megalabel.encoders.base import Encoder
    from megalabel.heads.base import Head
    from megalabel.training.optim.groups import Optimizers
    from megalabel.types import Batch


class Autocast(Protocol):
    """Makes the context in which the encoder and the head's loss are computed."""

    def __call__(self) -> contextlib.AbstractContextManager[None]:
        """A new context."""


@dataclass(frozen=True)
class StepContext:
    """The arguments of a step besides the batch.

    accumulation_steps: the number of micro-batches that the recipe requires.
    seed: the seed of the step, already set in torch's generators.
    wants_loss: whether the value of the loss will be read, which synchronizes with the GPU.
    """

    encoder: Encoder
    head: Head
    optimizers: Optimizers
    scaler: torch.amp.GradScaler
    device: torch.device
    autocast: Autocast
    accumulation_steps: int
    seed: int
    wants_loss: bool

    def backward(self, loss: Tensor, fraction: float = 1.0) -> float:
        """Scales the loss of one part of the batch and computes its gradients.

        fraction: the fraction of the batch's texts in this part. A mean is weighted by it, so that the sum over
            the parts is the gradient of the batch; a sum is not.

        Returns:
            The contribution to the loss of the batch; NaN if the value is not needed or was not computed.
        """
        check_loss(self.head, loss)
        if self.head.reduction == "mean" and fraction != 1.0:
            loss = loss * fraction
        self.scaler.scale(loss).backward()
        return float(loss.detach()) if self.wants_loss else float("nan")


def check_loss(head: Head, loss: Tensor) -> None:
    """Raises SettingError unless the loss is a scalar."""
    if loss.dim() != 0:
        raise SettingError(
            f"{type(head).__name__}.loss returned a tensor of shape {tuple(loss.shape)}",
            wanted="a scalar, the sum or the mean over the texts of the batch",
            next_step=f"reduce it, and set {type(head).__name__}.reduction to sum or mean",
            where="loss",
        )


class Step(ABC):
    """A strategy that computes the gradients of an optimizer step and returns the loss of the batch."""

    @abstractmethod
    def __call__(self, batch: Batch, context: StepContext) -> float:
        """The loss of the batch, a sum or a mean as defined by the head; NaN if its value is not needed."""


@dataclass(frozen=True)
class Plain(Step):
    """Forward, loss and backward pass of one micro-batch after another.

    A loss that is a sum is summed over the micro-batches. A loss that is a mean is weighted by the fraction of the
    texts in each, so that the gradient does not depend on the number of micro-batches.
    """

    def __call__(self, batch: Batch, context: StepContext) -> float:
        """Fills the gradients; see the class."""
        from megalabel.inputs.batches import split

        parts, total = split(batch, context.accumulation_steps), 0.0
        for i, part in enumerate(parts):
            context.optimizers.begin(i, len(parts), context.scaler.get_scale())
            part = part.to(context.device)
            with context.autocast():
                views = context.encoder.views(part)
                loss = context.head.loss(views.float(), part.positives)
            total += context.backward(loss, len(part) / len(batch))
        return total


@dataclass(frozen=True)
class CachedGradients(Step):
    """One loss over the whole batch, of which the encoder processes one of `parts` parts at a time.

    The views of all parts are computed without gradients, and the loss yields the gradient of each view; each part
    is then encoded again with the same random numbers and backpropagated (Gao, Zhang, Han and Callan, "Scaling
    Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021). Losses that compare the texts
    of a batch with each other thus see the whole batch, at the cost of another forward pass. The encoder must be a
    function of its texts and of torch's random numbers; batch statistics would be those of a part.

    Attributes:
        parts: the number of parts, 1 or more; the recipe's `accumulation_steps` must be 1.
    """

    parts: int

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise SettingError(
                f"parts = {self.parts}", wanted="1 or more", next_step="pass 1 or more", where="parts"
            )

    def __call__(self, batch: Batch, context: StepContext) -> float:
        """Fills the gradients; see the class."""
        import torch

        from megalabel.inputs.batches import split

        if context.accumulation_steps != 1:
            raise SettingError(
                f"accumulation_steps = {context.accumulation_steps} together with CachedGradients",
                wanted="accumulation_steps = 1",
                next_step="pass the number of parts to CachedGradients instead",
                where="accumulation_steps",
            )
        parts = [part.to(context.device) for part in split(batch, self.parts)]
        found = []
        with torch.no_grad():
            for i, part in enumerate(parts):
                found.append(self._views(part, i, context).float())
        views = torch.cat(found).requires_grad_()
        context.optimizers.begin(0, 1, context.scaler.get_scale())
        with context.autocast():
            loss = context.head.loss(views, batch.positives.to(context.device))
        value = context.backward(loss)
        assert views.grad is not None
        start = 0
        for i, part in enumerate(parts):
            again = self._views(part, i, context)
            gradient = views.grad[start : start + len(part)]
            start += len(part)
            if again.requires_grad:  # False if the encoder is frozen
                again.float().backward(gradient)
        return value

    def _views(self, part: Batch, i: int, context: StepContext) -> Tensor:
        """The views of part i, with the same random numbers each time."""
        import torch

        torch.manual_seed(context.seed + i * 0x9E3779B97F4A7C15 % 2**63)
        with context.autocast():
            return context.encoder.views(part)
