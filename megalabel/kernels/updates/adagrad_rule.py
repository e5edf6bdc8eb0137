"""Row-wise Adagrad as an update rule, applied to a chunk of labels as soon as its gradients are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from megalabel.kernels.updates.adagrad import AdagradSettings, adagrad_step_
from megalabel.kernels.updates.rule import LabelRows, StepContext, UpdateRule, buffer_like
from megalabel.kernels.updates.sgd import rescale


@dataclass
class AdagradRule(UpdateRule):
    """Updates weights in the backward pass by row-wise Adagrad; the formula is in `adagrad.py`.

    The state is one number per label, and one per bias, which is a row of one weight. The gradient of a step is
    the sum over its micro-batches. With several of them it is summed in `gradient` (L, D); with one this buffer is
    not allocated. Without weight decay, a label whose gradient is 0 does not change.

    Where connections of a layer with few inputs are replaced, the accumulator of the label stays as it is.

    Attributes:
        lr: the learning rate.
        eps: added to the square root of the accumulator, above 0.
        weight_decay: decoupled, 0 or more.
        decay_bias: whether weight decay applies to the bias.
        total: (L,), the sum over steps of the mean squared gradient of each label's weights, None until the first
            step; saved in checkpoints.
        bias_total: (L,), the same for the bias.
        gradient: (L, D), the sum over micro-batches; not used after a step.
        bias_gradient: (L,), the same for the bias.

    Raises:
        SettingError: a number is out of range.
    """

    lr: float
    eps: float = 1e-8
    weight_decay: float = 0.0
    decay_bias: bool = False
    total: Tensor | None = None
    bias_total: Tensor | None = None
    gradient: Tensor | None = None
    bias_gradient: Tensor | None = None

    KEPT: ClassVar[tuple[str, ...]] = ("total", "bias_total")

    def __post_init__(self) -> None:
        self.settings.check()

    @property
    def settings(self) -> AdagradSettings:
        """The hyperparameters for the weights."""
        return AdagradSettings(self.lr, self.eps, self.weight_decay)

    @property
    def bias_settings(self) -> AdagradSettings:
        """The hyperparameters for the bias."""
        return self.settings._replace(weight_decay=self.weight_decay if self.decay_bias else 0.0)

    def prepare(self, weight: Tensor | None, bias: Tensor | None, step: StepContext) -> None:
        """Allocates missing buffers, filled with zeros."""
        self.total = buffer_like(None if weight is None else weight[:, 0], self.total)
        self.bias_total = buffer_like(bias, self.bias_total)
        if not step.single:
            self.gradient = buffer_like(weight, self.gradient)
            self.bias_gradient = buffer_like(bias, self.bias_gradient)

    def apply(self, labels: LabelRows, gw: Tensor | None, gb: Tensor | None, step: StepContext) -> None:
        """Updates a chunk of labels with gradients (n, D) and (n,)."""
        if labels.weight is not None and gw is not None:
            self._move(labels.weight[labels.rows], labels, gw, step)
        if labels.bias is not None and gb is not None:
            self._move_bias(labels.bias[labels.rows], labels, gb, step)

    def _move(self, p: Tensor, labels: LabelRows, g: Tensor, step: StepContext) -> None:
        assert self.total is not None
        _move(p, self.total[labels.rows], _summed(self.gradient, labels, g, step), self.settings, step)

    def _move_bias(self, p: Tensor, labels: LabelRows, g: Tensor, step: StepContext) -> None:
        assert self.bias_total is not None
        g = _summed(self.bias_gradient, labels, g, step)
        # A bias is a row of one weight.
        _move(p[:, None], self.bias_total[labels.rows], g[:, None], self.bias_settings, step)


def _summed(buffer: Tensor | None, labels: LabelRows, g: Tensor, step: StepContext) -> Tensor:
    """The gradients of the micro-batches of a step so far."""
    if step.single:
        return g
    assert buffer is not None
    return rescale(buffer[labels.rows], 0.0 if step.first else 1.0).add_(g)


def _move(p: Tensor, total: Tensor, g: Tensor, settings: AdagradSettings, step: StepContext) -> None:
    if step.last:
        adagrad_step_(p, total, g, settings)
