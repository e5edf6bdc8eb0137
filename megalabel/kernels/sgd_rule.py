"""Stochastic gradient descent on a chunk of labels, while its logit gradients are at hand."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from megalabel.errors import SettingError


@dataclass
class SGDRule:
    """How a backward pass updates the weights in place, with the results of `torch.optim.SGD`.

        buffer ← momentum · buffer + gradient + weight_decay · weight
        weight ← weight − lr · buffer

    `gradient` is the sum over the micro-batches of one step. Weight decay is coupled, that is, it passes
    through the momentum buffer (Renée, MLSys 2023); the bias never decays. No Nesterov, no dampening.

    A step over several micro-batches sets `first` on the first of them alone and `last` on the last alone.
    The buffer then collects their sum (so without momentum, too, a buffer of (L, D) is made), and the weights
    change at the last. With momentum 0 and one micro-batch a step there is no buffer at all.

    Attributes:
        lr: the learning rate; BCE is summed over labels and texts, so it belongs to a batch size.
        momentum: 0 to below 1.
        weight_decay: L2, 0 or more.
        buffer: (L, D) in the weights' type, None until it is needed; belongs in a checkpoint.
        bias_buffer: (L,), likewise.
        first: this is the first micro-batch of a step.
        last: this is the last micro-batch of a step.
    """

    lr: float
    momentum: float = 0.0
    weight_decay: float = 0.0
    buffer: Tensor | None = None
    bias_buffer: Tensor | None = None
    first: bool = True
    last: bool = True

    @property
    def needs_buffer(self) -> bool:
        """Whether this micro-batch reads or leaves something that outlives it."""
        return self.momentum != 0 or not (self.first and self.last)

    def prepare(self, weight: Tensor, bias: Tensor | None) -> None:
        """Makes the buffers, zero, if this micro-batch needs them and they are not there."""
        if not self.needs_buffer:
            return
        self.buffer = _beside(weight, self.buffer)
        self.bias_buffer = None if bias is None else _beside(bias, self.bias_buffer)

    def update(self, weight: Tensor, bias: Tensor | None, g: Tensor, x: Tensor, start: int, stop: int) -> None:
        """Labels `start` to `stop` learn from g (n, B), the loss's gradient by logits, and x (B, D)."""
        w = weight[start:stop]
        if not self.needs_buffer:
            _accumulate(w, g, x, 1 - self.lr * self.weight_decay, -self.lr)
            if bias is not None:
                bias[start:stop].sub_(g.sum(1, dtype=bias.dtype), alpha=self.lr)
            return
        keep = self.momentum if self.first else 1.0
        assert self.buffer is not None
        m = self.buffer[start:stop]
        _accumulate(m, g, x, keep, 1.0)
        if self.last:
            if self.weight_decay:
                m.add_(w, alpha=self.weight_decay)
            w.sub_(m, alpha=self.lr)
        if bias is not None:
            assert self.bias_buffer is not None
            m = self.bias_buffer[start:stop]
            m.mul_(keep).add_(g.sum(1, dtype=bias.dtype))
            if self.last:
                bias[start:stop].sub_(m, alpha=self.lr)


def _beside(parameter: Tensor, buffer: Tensor | None) -> Tensor:
    if buffer is None:
        return torch.zeros_like(parameter)
    if buffer.shape != parameter.shape:
        raise SettingError(
            f"a momentum buffer {tuple(buffer.shape)} for weights {tuple(parameter.shape)}",
            wanted="buffers of the head that is trained",
            next_step="go on from the checkpoint of this head, or begin with an empty rule",
        )
    return buffer.to(parameter)  # the head may have moved since


def _accumulate(into: Tensor, a: Tensor, b: Tensor, keep: float, times: float) -> None:
    """into ← keep · into + times · a b, in one product where the types agree."""
    if into.dtype == a.dtype:
        torch.addmm(into, a, b, beta=keep, alpha=times, out=into)
    else:
        into.mul_(keep).add_(torch.mm(a, b), alpha=times)
