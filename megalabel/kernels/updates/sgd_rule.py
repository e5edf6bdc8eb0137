"""Stochastic gradient descent on a chunk of labels, while its gradients are at hand."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.kernels.updates.sgd import add_product, check_rates, momentum_step_, rescale


@dataclass
class SGDRule:
    """How a backward pass updates the weights in place, with the results of `torch.optim.SGD`.

        buffer ← momentum · buffer + gradient + weight_decay · weight
        weight ← weight − lr · buffer

    `gradient` is the sum over the micro-batches of one step. Weight decay is coupled, that is, it passes
    through the momentum buffer (Renée, MLSys 2023). No Nesterov, no dampening.

    A step over several micro-batches sets `first` on the first of them alone and `last` on the last alone.
    The buffer then collects their sum (so without momentum, too, a buffer of (L, D) is made), and the weights
    change at the last. With momentum 0 and one micro-batch a step there is no buffer at all.

    Attributes:
        lr: the learning rate; of a summed loss it belongs to a batch size.
        momentum: 0 to below 1.
        weight_decay: L2, 0 or more.
        buffer: (L, D) in the weights' type, None until it is needed; belongs in a checkpoint.
        bias_buffer: (L,), likewise.
        first: this is the first micro-batch of a step.
        last: this is the last micro-batch of a step.
        loss_scale: what the loss was multiplied by for the sake of narrow types. Weights learn from the
            upstream gradient divided by it.
        decay_bias: whether the bias decays too.

    Raises:
        SettingError: a number out of range.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    buffer: Tensor | None = None
    bias_buffer: Tensor | None = None
    first: bool = True
    last: bool = True
    loss_scale: float = 1.0
    decay_bias: bool = False

    KEPT: ClassVar[tuple[str, ...]] = ("buffer", "bias_buffer")  # what outlives a step

    def __post_init__(self) -> None:
        check_rates(self.lr, self.weight_decay)
        if not 0 <= self.momentum < 1:
            raise SettingError(
                f"momentum={self.momentum}", wanted="from 0 to below 1", next_step="take 0.9", where="momentum"
            )

    @property
    def needs_buffer(self) -> bool:
        """Whether this micro-batch reads or leaves something that outlives it."""
        return self.momentum != 0 or not (self.first and self.last)

    def prepare(self, weight: Tensor | None, bias: Tensor | None) -> None:
        """Makes the buffers, zero, if this micro-batch needs them and they are not there.

        Here and below None is for what does not learn: it stays as it is, and so does its buffer.
        """
        if self.needs_buffer:
            self.buffer = beside(weight, self.buffer)
            self.bias_buffer = beside(bias, self.bias_buffer)

    def beside_weight(self) -> list[Tensor]:
        """What is kept of each weight between steps, tensors of the weights' shape."""
        return [] if self.buffer is None else [self.buffer]

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

        def of_weight(into: Tensor, keep: float, times: float) -> None:
            assert gw is not None
            rescale(into, keep).add_(gw, alpha=times)

        def of_bias(into: Tensor, keep: float, times: float) -> None:
            assert gb is not None
            rescale(into, keep).add_(gb, alpha=times)

        self._move(weight, bias, of_weight, of_bias, slice(start, stop))

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
        """The same from g (n, B), the loss's gradient by logits, and x (B, D): times · g x, in one product."""

        def of_weight(into: Tensor, keep: float, rate: float) -> None:
            add_product(into, g, x, keep, rate * times)

        def of_bias(into: Tensor, keep: float, rate: float) -> None:
            rescale(into, keep).add_(g.sum(1, dtype=into.dtype), alpha=rate * times)

        self._move(weight, bias, of_weight, of_bias, slice(start, stop))

    def _move(
        self, weight: Tensor | None, bias: Tensor | None, of_weight: _Add, of_bias: _Add, rows: slice
    ) -> None:
        if weight is not None:
            self._move_one(weight, self.buffer, of_weight, self.weight_decay, rows)
        if bias is not None:
            decay = self.weight_decay if self.decay_bias else 0.0
            self._move_one(bias, self.bias_buffer, of_bias, decay, rows)

    def _move_one(self, parameter: Tensor, buffer: Tensor | None, add: _Add, decay: float, rows: slice) -> None:
        p = parameter[rows]
        if not self.needs_buffer:
            add(p, 1 - self.lr * decay, -self.lr)
            return
        assert buffer is not None
        m = buffer[rows]
        add(m, self.momentum if self.first else 1.0, 1.0)
        if self.last:
            momentum_step_(p, m, self.lr, decay)


_Add = Callable[[Tensor, float, float], None]  # (into, keep, times): into ← keep · into + times · gradient


def beside(parameter: Tensor | None, buffer: Tensor | None) -> Tensor | None:
    """The buffer of a parameter, contiguous and where that is, zeros if there is none yet; of none, as it was."""
    if parameter is None:
        return buffer
    if buffer is None:
        return torch.zeros_like(parameter, memory_format=torch.contiguous_format)
    if buffer.shape != parameter.shape:
        raise SettingError(
            f"an optimiser's buffer {tuple(buffer.shape)} for weights {tuple(parameter.shape)}",
            wanted="buffers of the head that is trained",
            next_step="go on from the checkpoint of this head, or begin with an empty rule",
        )
    return buffer.to(parameter).contiguous()  # the head may have moved since
