"""AdamW on a chunk of labels, while its gradients are at hand."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from torch import Tensor

from megalabel.kernels.updates.adam import AdamSettings, adam_step_
from megalabel.kernels.updates.sgd import add_product, rescale
from megalabel.kernels.updates.sgd_rule import SGDRule, beside


@dataclass
class AdamRule:
    """How a backward pass updates the weights in place, with the results of `torch.optim.AdamW`.

        weight ← (1 − lr · weight_decay) · weight
        mean   ← mean + (1 − β₁) (gradient − mean)
        square ← β₂ · square + (1 − β₂) gradient²
        weight ← weight − rate · mean / (√square / root + eps)

    with rate = lr / (1 − β₁ᵗ) and root = √(1 − β₂ᵗ), where t = `steps` counts this step too (Kingma and Ba, 2015;
    decoupled decay: Loshchilov and Hutter, 2019). `gradient` is the sum over the micro-batches of one step. Every
    weight moves in every step, also where its gradient is 0.

    A step over several micro-batches sets `first` on the first of them alone and `last` on the last alone. Their
    gradients are then summed in `gradient` (L, D), the weights and moments change at the last. With one
    micro-batch a step there is no such buffer.

    Attributes:
        lr: the learning rate.
        betas: β₁ and β₂, each from 0 to below 1; may change between steps.
        eps: added to the root of the corrected square, above 0.
        weight_decay: decoupled, 0 or more.
        decay_bias: whether the bias decays too.
        steps: how many steps were begun.
        mean: (L, D) in the weights' type, None until the first step; belongs in a checkpoint as all moments do.
        square: (L, D), likewise.
        bias_mean: (L,), likewise.
        bias_square: (L,), likewise.
        gradient: (L, D), the sum over micro-batches; of no use after a step.
        bias_gradient: (L,), likewise.
        first: this is the first micro-batch of a step.
        last: this is the last micro-batch of a step.
        loss_scale: what the loss was multiplied by for the sake of narrow types. Weights learn from the
            upstream gradient divided by it.

    Raises:
        SettingError: a number out of range.
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
    first: bool = True
    last: bool = True
    loss_scale: float = 1.0

    KEPT: ClassVar[tuple[str, ...]] = ("steps", "mean", "square", "bias_mean", "bias_square")

    def __post_init__(self) -> None:
        self.settings.check()

    @property
    def settings(self) -> AdamSettings:
        """The hyperparameters of the weights' step."""
        return AdamSettings(self.lr, self.betas, self.eps, self.weight_decay)

    @property
    def bias_settings(self) -> AdamSettings:
        """The hyperparameters of the bias' step."""
        return self.settings._replace(weight_decay=self.weight_decay if self.decay_bias else 0.0)

    @property
    def needs_gradient(self) -> bool:
        """Whether the gradient of this micro-batch is summed with others' before weights move."""
        return not (self.first and self.last)

    def prepare(self, weight: Tensor | None, bias: Tensor | None) -> None:
        """Begins a micro-batch: counts the step on the first, and makes the buffers that are not there, zero.

        Here and below None is for what does not learn: it stays as it is, and so does what is kept of it.
        """
        self.steps += self.first
        self.mean, self.square = beside(weight, self.mean), beside(weight, self.square)
        self.bias_mean, self.bias_square = beside(bias, self.bias_mean), beside(bias, self.bias_square)
        if self.needs_gradient:
            self.gradient = beside(weight, self.gradient)
            self.bias_gradient = beside(bias, self.bias_gradient)

    def beside_weight(self) -> list[Tensor]:
        """What is kept of each weight between steps, tensors of the weights' shape."""
        return [kept for kept in (self.mean, self.square) if kept is not None]

    def apply(
        self,
        weight: Tensor | None,
        bias: Tensor | None,
        gw: Tensor | None,
        gb: Tensor | None,
        start: int,
        stop: int,
    ) -> None:
        """Labels `start` to `stop` learn from this micro-batch's gradients, gw (n, D) and gb (n,)."""
        if weight is not None:
            assert gw is not None
            if self.needs_gradient:
                assert self.gradient is not None
                gw = rescale(self.gradient[start:stop], self._keep).add_(gw)
            self._move_weight(weight, gw, slice(start, stop))
        if bias is not None:
            assert gb is not None
            self._move_bias(bias, gb, slice(start, stop))

    def update(
        self,
        weight: Tensor | None,
        bias: Tensor | None,
        g: Tensor,
        x: Tensor,
        start: int,
        stop: int,
        times: float = 1.0,
    ) -> None:
        """The same from g (n, B), the loss's gradient by logits, and x (B, D): times · g x."""
        if weight is not None:
            if self.needs_gradient:
                assert self.gradient is not None
                gw, keep = self.gradient[start:stop], self._keep
            else:
                gw, keep = weight.new_empty(stop - start, weight.shape[1]), 0.0
            add_product(gw, g, x, keep, times)
            self._move_weight(weight, gw, slice(start, stop))
        if bias is not None:
            self._move_bias(bias, g.sum(1, dtype=bias.dtype).mul_(times), slice(start, stop))

    @property
    def _keep(self) -> float:
        return 0.0 if self.first else 1.0

    def _move_weight(self, weight: Tensor, gw: Tensor, rows: slice) -> None:
        if self.last:
            assert self.mean is not None
            assert self.square is not None
            adam_step_(weight[rows], self.mean[rows], self.square[rows], gw, self.steps, self.settings)

    def _move_bias(self, bias: Tensor, gb: Tensor, rows: slice) -> None:
        if self.needs_gradient:
            assert self.bias_gradient is not None
            gb = rescale(self.bias_gradient[rows], self._keep).add_(gb)
        if self.last:
            assert self.bias_mean is not None
            assert self.bias_square is not None
            p, mean, square = (t[rows] for t in (bias, self.bias_mean, self.bias_square))
            adam_step_(p, mean, square, gb, self.steps, self.bias_settings)


Rule: TypeAlias = SGDRule | AdamRule
