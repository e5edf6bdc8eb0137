"""SGD as an update rule, applied to a chunk of labels as soon as its gradients are computed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.updates.rule import LabelRows, StepContext, UpdateRule, buffer_like
from megalabel.kernels.updates.sgd import add_product, check_rates, momentum_step_, rescale


@dataclass
class SGDRule(UpdateRule):
    """Updates weights in the backward pass, equivalent to `torch.optim.SGD`.

        buffer ← momentum · buffer + gradient + weight_decay · weight
        weight ← weight − lr · buffer

    `gradient` is the sum over the micro-batches of one step. Weight decay is coupled, that is, it is added to the
    momentum buffer (Renée, MLSys 2023). There is no Nesterov momentum and no dampening.

    With several micro-batches per step the buffer accumulates their gradients (a buffer (L, D) is then needed even
    without momentum), and the weights are updated after the last one. With momentum 0 and one micro-batch per step
    no buffer is allocated.

    Attributes:
        lr: the learning rate; for a summed loss it has to be chosen for the batch size.
        momentum: from 0 to below 1.
        weight_decay: L2 penalty, 0 or more.
        buffer: (L, D) in the dtype of the weights, None until it is needed; saved in checkpoints.
        bias_buffer: (L,), the same for the bias.
        decay_bias: whether weight decay applies to the bias.

    Raises:
        SettingError: a number is out of range.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    buffer: Tensor | None = None
    bias_buffer: Tensor | None = None
    decay_bias: bool = False

    KEPT: ClassVar[tuple[str, ...]] = ("buffer", "bias_buffer")

    def __post_init__(self) -> None:
        check_rates(self.lr, self.weight_decay)
        if not 0 <= self.momentum < 1:
            raise SettingError(
                f"momentum={self.momentum}", wanted="from 0 to below 1", next_step="use 0.9", where="momentum"
            )

    @property
    def bias_decay(self) -> float:
        """The weight decay of the bias."""
        return self.weight_decay if self.decay_bias else 0.0

    def buffered(self, step: StepContext) -> bool:
        """Whether a micro-batch needs the buffer."""
        return self.momentum != 0 or not step.single

    def kept_fraction(self, step: StepContext) -> float:
        """The factor of the buffer when the gradient of a micro-batch is added to it."""
        return self.momentum if step.first else 1.0

    def prepare(self, weight: Tensor | None, bias: Tensor | None, step: StepContext) -> None:
        """Allocates the buffers that this micro-batch needs and that are missing, filled with zeros."""
        if self.buffered(step):
            self.buffer = buffer_like(weight, self.buffer)
            self.bias_buffer = buffer_like(bias, self.bias_buffer)

    def weight_state(self) -> list[Tensor]:
        """The momentum buffer, if there is one."""
        return [] if self.buffer is None else [self.buffer]

    def apply(self, labels: LabelRows, gw: Tensor | None, gb: Tensor | None, step: StepContext) -> None:
        """Updates a chunk of labels with gradients (n, D) and (n,)."""

        def add_gw(into: Tensor, keep: float, times: float) -> None:
            assert gw is not None
            rescale(into, keep).add_(gw, alpha=times)

        def add_gb(into: Tensor, keep: float, times: float) -> None:
            assert gb is not None
            rescale(into, keep).add_(gb, alpha=times)

        self._move(labels, add_gw, add_gb, step)

    def update(self, labels: LabelRows, g: Tensor, x: Tensor, step: StepContext, times: float = 1.0) -> None:
        """Updates a chunk of labels with the gradient g x, for g (n, B) and x (B, D), without storing it."""

        def add_gw(into: Tensor, keep: float, rate: float) -> None:
            add_product(into, g, x, keep, rate * times)

        def add_gb(into: Tensor, keep: float, rate: float) -> None:
            rescale(into, keep).add_(g.sum(1, dtype=into.dtype), alpha=rate * times)

        self._move(labels, add_gw, add_gb, step)

    def _move(self, labels: LabelRows, add_gw: Add, add_gb: Add, step: StepContext) -> None:
        for parameter, buffer, add, decay in (
            (labels.weight, self.buffer, add_gw, self.weight_decay),
            (labels.bias, self.bias_buffer, add_gb, self.bias_decay),
        ):
            if parameter is None:
                continue
            p = parameter[labels.rows]
            if not self.buffered(step):
                add(p, 1 - self.lr * decay, -self.lr)
                continue
            assert buffer is not None
            m = buffer[labels.rows]
            add(m, self.kept_fraction(step), 1.0)
            if step.last:
                momentum_step_(p, m, self.lr, decay)


Add = Callable[[Tensor, float, float], None]  # (into, keep, times): into ← keep · into + times · gradient
