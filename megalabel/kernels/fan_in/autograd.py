"""The autograd functions of `fixed_fan_in.py`, and the choice of the implementation beneath them."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from megalabel.kernels.all_labels.label_pass import Request
from megalabel.kernels.core.checks import must_be_finite
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.fan_in import plain as fan_in_plain
from megalabel.kernels.fan_in.layer import FanIn
from megalabel.kernels.updates.rule import ONLY_PART, StepContext, UpdateRule

_COMPILED = Operation(__package__, "fixed_fan_in", ("cpu", "triton"))


def scores(x: Tensor, weight: Tensor, bias: Tensor | None, layer: FanIn) -> Tensor:
    """The logits (B, L) of all labels; layer is made of these tensors."""
    z: Tensor = _Scores.apply(x, weight, bias, layer)  # type: ignore[no-untyped-call]
    return z


class Task(NamedTuple):
    """A loss over a layer.

    Attributes:
        layer: checked, and made of the tensors that the loss is taken of.
        places: (P,) int64, the positives as label · B + text, strictly rising.
        loss: one of `label_loss.LOSSES`.
        scale: what the sum is multiplied by.
        wanted: whether the value is wanted.
        rule: spends the gradients by weight and bias, if there is one.
        step: the context in which the rule acts.
    """

    layer: FanIn
    places: Tensor
    loss: str
    scale: float
    wanted: bool
    rule: UpdateRule | None = None
    step: StepContext = ONLY_PART


def loss_of(x: Tensor, weight: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """The loss, whose backward pass makes all gradients, and with a rule spends those by weight and bias."""
    found: Tensor = _Loss.apply(x, weight, bias, task)  # type: ignore[no-untyped-call]
    return found


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: FanIn) -> Tensor:
        xt = transposed(x, layer)
        ctx.save_for_backward(xt, weight, bias)
        # The backward pass may run in a thread of autograd's own, which does not see the caller's choice.
        ctx.layer, ctx.dtype, ctx.body = layer, x.dtype, implementation(layer)
        with own_dtype(xt):
            z: Tensor = ctx.body.scores(xt, layer, 0, layer.n_labels)
        return z.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        xt, _, _ = ctx.saved_tensors  # looks whether the weights changed since
        dz = dz.to(xt.dtype).t().contiguous()
        with own_dtype(xt):
            found = ctx.body.spread(xt, ctx.layer, dz, ctx.needs_input_grad[:3])
        embedding = None if found.embedding is None else found.embedding.t().to(ctx.dtype)
        return embedding, found.weight, found.bias, None


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, task: Task) -> Tensor:
        xt = transposed(x, task.layer)
        must_be_finite(xt, "the embeddings that the encoder gave")
        # With a rule not saved through autograd, whose guard against in-place changes would refuse our own update.
        ctx.save_for_backward(xt, *((weight, bias) if task.rule is None else ()))
        ctx.task, ctx.dtype, ctx.body = task, x.dtype, implementation(task.layer)
        if not task.wanted:
            return weight.new_full((), float("nan"))
        with own_dtype(xt):
            total: Tensor = ctx.body.value(xt, task.layer, task.loss, task.places)
        value = (total * task.scale).to(weight.dtype)
        must_be_finite(value, "the loss")
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        xt, task = ctx.saved_tensors[0], ctx.task
        request = Request.of_loss(ctx.needs_input_grad[:3], float(upstream), task.scale, task.rule, task.step)
        if task.rule is not None:
            must_be_finite(upstream, "the gradient of the loss itself")
            request.prepare(task.layer.weight, task.layer.bias)
        with own_dtype(xt):
            found = ctx.body.gradients(xt, task.layer, task.loss, task.places, request)
        embedding = found.embedding
        if embedding is not None:
            must_be_finite(embedding, "the embedding's gradient")
            embedding = embedding.t().to(ctx.dtype)
        return embedding, found.weight, found.bias, None


def implementation(layer: FanIn) -> Any:
    """The module that computes for this layer: `plain.py`, or a compiled one that offers the same functions."""
    beside = [layer.inputs] if layer.bias is None else [layer.inputs, layer.bias]
    return _COMPILED.for_table(layer.weight, *beside) or fan_in_plain


def own_dtype(x: Tensor) -> torch.autocast:
    """A context in which products stay in the weights' own type, also under the caller's autocast."""
    return torch.autocast(x.device.type, enabled=False)


def transposed(x: Tensor, layer: FanIn) -> Tensor:
    """(D, B), so that a label's inputs are rows and texts lie side by side."""
    return x.detach().to(layer.weight.dtype).t().contiguous()
