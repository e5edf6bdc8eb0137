"""How a batch becomes gradients: in micro-batches, or with one loss over a batch larger than memory."""

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
    """What a step needs beside its batch.

    accumulation_steps: micro-batches that the recipe asks for.
    seed: the seed of the step, which torch's generators have been given already.
    wants_loss: whether the loss's value will be read; reading it makes a GPU wait.
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
        """Scales the loss of one part and goes back through it.

        fraction: the part's share of the texts of the batch; a mean counts by it, so that the parts together have
            the gradient of the batch. A sum is left as it is.

        Returns:
            What the part adds to the loss of the batch; NaN where the value is not wanted or was not computed.
        """
        check_loss(self.head, loss)
        if self.head.reduction == "mean" and fraction != 1.0:
            loss = loss * fraction
        self.scaler.scale(loss).backward()
        return float(loss.detach()) if self.wants_loss else float("nan")


def check_loss(head: Head, loss: Tensor) -> None:
    """SettingError unless a loss is a scalar."""
    if loss.dim() != 0:
        raise SettingError(
            f"{type(head).__name__}.loss returned a tensor of shape {tuple(loss.shape)}",
            wanted="a scalar, the sum or the mean over the texts of the batch",
            next_step=f"reduce it, and set {type(head).__name__}.reduction to sum or mean",
            where="loss",
        )


class Step(ABC):
    """A strategy: fills the gradients of one optimizer step and returns the loss of the batch."""

    @abstractmethod
    def __call__(self, batch: Batch, context: StepContext) -> float:
        """The loss of the batch, a sum or a mean as the head's; NaN where its value is not wanted."""


@dataclass(frozen=True)
class Plain(Step):
    """Forward, loss and backward of each micro-batch in turn.

    A loss that is a sum is summed over the micro-batches. A loss that is a mean counts each by its share of the
    texts, so that n parts give the gradient of one batch.
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
    """One loss over the whole batch, while the encoder sees `parts` of it, one after the other.

    The views of all parts are computed without gradients; the loss gives the gradient of each view; each part is
    then encoded again, with the same random numbers, and goes back from there (Gao, Zhang, Han and Callan,
    "Scaling Deep Contrastive Learning Batch Size under Memory Limited Setup", RepL4NLP 2021). So losses that
    compare the texts of a batch with each other see all of it, for one more forward pass. The encoder must be a
    function of its texts and of torch's random numbers: batch statistics would be those of a part.

    Attributes:
        parts: how many parts the batch is encoded in, 1 or more; the recipe's `accumulation_steps` stays 1.
    """

    parts: int

    def __post_init__(self) -> None:
        if self.parts < 1:
            raise SettingError(
                f"parts = {self.parts}", wanted="1 or more", next_step="correct parts", where="parts"
            )

    def __call__(self, batch: Batch, context: StepContext) -> float:
        """Fills the gradients; see the class."""
        import torch

        from megalabel.inputs.batches import split

        if context.accumulation_steps != 1:
            raise SettingError(
                f"accumulation_steps = {context.accumulation_steps} beside CachedGradients",
                wanted="accumulation_steps = 1",
                next_step="give CachedGradients the number of parts instead",
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
            if again.requires_grad:  # not where the encoder is frozen
                again.float().backward(gradient)
        return value

    def _views(self, part: Batch, i: int, context: StepContext) -> Tensor:
        """The views of part i, with the same random numbers each time."""
        import torch

        torch.manual_seed(context.seed + i * 0x9E3779B97F4A7C15 % 2**63)
        with context.autocast():
            return context.encoder.views(part)
