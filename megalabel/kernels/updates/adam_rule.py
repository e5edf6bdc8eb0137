"""AdamW as an update rule, applied to a chunk of labels as soon as its gradients are computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from megalabel.kernels.updates.adam import AdamSettings, adam_step_
from megalabel.kernels.updates.rule import LabelRows, StepContext, UpdateRule, buffer_like
from megalabel.kernels.updates.sgd import add_product, check_rates, rescale


@dataclass
class AdamRule(UpdateRule):
    """Updates weights in the backward pass, equivalent to `torch.optim.AdamW`; the formula is in `adam.py`.

    The gradient of a step is the sum over its micro-batches. Every weight is updated in every step, even if its
    gradient is 0. Gradients of several micro-batches are summed in `gradient` (L, D); weights and moments are
    updated after the last one. With one micro-batch per step this buffer is not allocated.

    Attributes:
        lr: the learning rate.
        betas: β₁ and β₂, each from 0 to below 1; may change between steps.
        eps: added to the square root of the bias-corrected second moment, above 0.
        weight_decay: decoupled, 0 or more.
        decay_bias: whether weight decay applies to the bias.
        steps: the number of steps begun so far.
        mean: first moment of the weights, (L, D) in their dtype, None until the first step. Moments are saved in
            checkpoints.
        square: second moment of the weights, (L, D).
        bias_mean: first moment of the bias, (L,).
        bias_square: second moment of the bias, (L,).
        gradient: (L, D), the sum over micro-batches; not used after a step.
        bias_gradient: (L,), the same for the bias.

    Raises:
        SettingError: a number is out of range.
    """

    lr: float
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    decay_bias: bool = False
    steps: int = 0
    mean: Tensor | None = None
    square: Tensor | None = None
    bias_mean: Tensor | None = None
    bias_square: Tensor | None = None
    gradient: Tensor | None = None
    bias_gradient: Tensor | None = None

    KEPT: ClassVar[tuple[str, ...]] = ("steps", "mean", "square", "bias_mean", "bias_square")

    def __post_init__(self) -> None:
        self.settings.check()

    @property
    def settings(self) -> AdamSettings:
        """The hyperparameters for the weights."""
        return AdamSettings(self.lr, self.betas, self.eps, self.weight_decay)

    @property
    def bias_settings(self) -> AdamSettings:
        """The hyperparameters for the bias."""
        return self.settings._replace(weight_decay=self.weight_decay if self.decay_bias else 0.0)

    def prepare(self, weight: Tensor | None, bias: Tensor | None, step: StepContext) -> None:
        """Counts the step on its first micro-batch and allocates missing buffers, filled with zeros."""
        self.steps += step.first
        self.mean, self.square = buffer_like(weight, self.mean), buffer_like(weight, self.square)
        self.bias_mean, self.bias_square = buffer_like(bias, self.bias_mean), buffer_like(bias, self.bias_square)
        if not step.single:
            self.gradient = buffer_like(weight, self.gradient)
            self.bias_gradient = buffer_like(bias, self.bias_gradient)

    def weight_state(self) -> list[Tensor]:
        """Both moments, if they are allocated."""
        return [kept for kept in (self.mean, self.square) if kept is not None]

    def apply(self, labels: LabelRows, gw: Tensor | None, gb: Tensor | None, step: StepContext) -> None:
        """Updates a chunk of labels with gradients (n, D) and (n,)."""
        if labels.weight is not None:
            assert gw is not None
            if not step.single:
                assert self.gradient is not None
                gw = rescale(self.gradient[labels.rows], 0.0 if step.first else 1.0).add_(gw)
            self._move_weight(labels, gw, step)
        if labels.bias is not None:
            assert gb is not None
            self._move_bias(labels, gb, step)

    def update(self, labels: LabelRows, g: Tensor, x: Tensor, step: StepContext, times: float = 1.0) -> None:
        """Updates a chunk of labels with the gradient g x, for g (n, B) and x (B, D), written to memory once."""
        weight, bias = labels.weight, labels.bias
        if weight is not None:
            if step.single:
                gw = weight.new_empty(labels.stop - labels.start, weight.shape[1])
            else:
                assert self.gradient is not None
                gw = self.gradient[labels.rows]
            add_product(gw, g, x, 0.0 if step.first else 1.0, times)
            self._move_weight(labels, gw, step)
        if bias is not None:
            self._move_bias(labels, g.sum(1, dtype=bias.dtype).mul_(times), step)

    def _move_weight(self, labels: LabelRows, gw: Tensor, step: StepContext) -> None:
        if step.last:
            assert labels.weight is not None
            assert self.mean is not None
            assert self.square is not None
            p, mean, square = (t[labels.rows] for t in (labels.weight, self.mean, self.square))
            adam_step_(p, mean, square, gw, self.steps, self.settings)

    def _move_bias(self, labels: LabelRows, gb: Tensor, step: StepContext) -> None:
        assert labels.bias is not None
        assert self.bias_mean is not None
        assert self.bias_square is not None
        if not step.single:
            assert self.bias_gradient is not None
            gb = rescale(self.bias_gradient[labels.rows], 0.0 if step.first else 1.0).add_(gb)
        if step.last:
            p, mean, square = (t[labels.rows] for t in (labels.bias, self.bias_mean, self.bias_square))
            adam_step_(p, mean, square, gb, self.steps, self.bias_settings)


class CoupledAdamRule(AdamRule):
    """The same with the results of `torch.optim.Adam`: the decay is added to the gradient and enters the moments.

    It has no compiled body in the sparse layer, whose pass then takes its gradients from PyTorch.
    """

    def __post_init__(self) -> None:
        super().__post_init__()
        check_rates(self.lr, self.weight_decay)

    @property
    def settings(self) -> AdamSettings:
        """The hyperparameters of the weights' step, without the decay."""
        return super().settings._replace(weight_decay=0.0)

    @property
    def bias_settings(self) -> AdamSettings:
        """Those of the bias' step, without the decay."""
        return self.settings

    def _move_weight(self, labels: LabelRows, gw: Tensor, step: StepContext) -> None:
        if step.last and self.weight_decay:
            assert labels.weight is not None
            gw.add_(labels.weight[labels.rows], alpha=self.weight_decay)
        super()._move_weight(labels, gw, step)

    def _move_bias(self, labels: LabelRows, gb: Tensor, step: StepContext) -> None:
        if step.last and self.weight_decay and self.decay_bias:
            assert labels.bias is not None
            gb = gb.add(labels.bias[labels.rows], alpha=self.weight_decay)
        super()._move_bias(labels, gb, step)
