"""The autograd functions of `fixed_fan_in.py`, and the choice of their implementation."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from megalabel.kernels.all_labels.request import Request
from megalabel.kernels.core.checks import diverged, must_be_finite
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.fan_in import plain as fan_in_plain
from megalabel.kernels.fan_in.layer import FanIn
from megalabel.kernels.updates.rule import ONLY_PART, StepContext, UpdateRule

_COMPILED = Operation(__package__, "fixed_fan_in", ("cpu", "triton"))
_NARROW = Operation(__package__, "fixed_fan_in")  # the body for GPUs reads float32 alone


def scores(x: Tensor, weight: Tensor, bias: Tensor | None, layer: FanIn) -> Tensor:
    """The logits (B, L) of all labels; `layer` holds the same tensors, detached."""
    z: Tensor = _Scores.apply(x, weight, bias, layer)  # type: ignore[no-untyped-call]
    return z


class Task(NamedTuple):
    """A loss over a layer.

    Attributes:
        layer: the checked layer.
        places: (P,) int64, the positives as label · B + text, strictly increasing.
        loss: one of `label_loss.LOSSES`.
        scale: factor of the sum.
        wanted: whether the value of the loss is computed.
        rule: the rule that updates weight and bias in the backward pass, or None.
        step: the context that is passed to the rule.
        text_weights: (B,) of the layer's dtype, the factors of the texts' losses; None for 1 each.
    """

    layer: FanIn
    places: Tensor
    loss: str
    scale: float
    wanted: bool
    rule: UpdateRule | None = None
    step: StepContext = ONLY_PART
    text_weights: Tensor | None = None


def loss_of(x: Tensor, weight: Tensor, bias: Tensor | None, task: Task) -> Tensor:
    """The loss; its backward pass computes all gradients and, with a rule, updates weight and bias."""
    found: Tensor = _Loss.apply(x, weight, bias, task)  # type: ignore[no-untyped-call]
    return found


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: FanIn) -> Tensor:
        xt = transposed(x, layer)
        ctx.save_for_backward(xt, weight, bias)
        # Autograd may run the backward pass in another thread, where the caller's `dispatch.use` has no effect.
        ctx.layer, ctx.dtype, ctx.body = layer, x.dtype, implementation(layer)
        with own_dtype(xt):
            z: Tensor = ctx.body.scores(xt, layer, 0, layer.n_labels)
        return z.t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        xt, _, _ = ctx.saved_tensors  # raises if weight or bias were changed in place since the forward pass
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
        # With a rule, weight and bias are not saved: autograd would report the rule's own in-place update.
        ctx.save_for_backward(xt, *((weight, bias) if task.rule is None else ()))
        ctx.task, ctx.dtype, ctx.body = task, x.dtype, implementation(task.layer)
        if not task.wanted:
            return x.new_full((), float("nan"), dtype=task.layer.dtype)
        with own_dtype(xt):
            total: Tensor = ctx.body.value(xt, task.layer, task.loss, task.places, task.text_weights)
        value = (total * task.scale).to(task.layer.dtype)
        must_be_finite(value, "the loss")
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        xt, task = ctx.saved_tensors[0], ctx.task
        factor = float(upstream)  # waits for a GPU once
        request = Request.of_loss(
            ctx.needs_input_grad[:3], factor, task.scale, task.rule, task.step, task.text_weights
        )
        if task.rule is not None:
            if not math.isfinite(factor):
                raise diverged("the gradient of the loss itself")
            request.prepare(task.layer.weight, task.layer.bias)
        with own_dtype(xt):
            found = ctx.body.gradients(xt, task.layer, task.loss, task.places, request)
        embedding = found.embedding
        if embedding is not None:
            must_be_finite(embedding, "the embedding's gradient")
            embedding = embedding.t().to(ctx.dtype)
        return embedding, found.weight, found.bias, None


def implementation(layer: FanIn) -> Any:
    """The module with the implementation for this layer: `plain.py`, or a compiled one with the same functions."""
    beside = [layer.inputs] if layer.bias is None else [layer.inputs, layer.bias]
    if layer.table is None:
        return _COMPILED.for_table(layer.weight, *beside) or fan_in_plain
    packed = all(tensor.is_contiguous() for tensor in beside)
    return (_NARROW.for_device(layer.weight.device) if packed else None) or fan_in_plain


def own_dtype(x: Tensor) -> torch.autocast:
    """A context in which products are computed in the layer's dtype, even under the caller's autocast."""
    return torch.autocast(x.device.type, enabled=False)


def transposed(x: Tensor, layer: FanIn) -> Tensor:
    """x as (D, B), so that the values of one input for all texts are contiguous."""
    return x.detach().to(layer.dtype).t().contiguous()
