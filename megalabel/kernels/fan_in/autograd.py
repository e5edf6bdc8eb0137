"""The autograd functions of `fixed_fan_in.py`, and which body runs beneath them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from megalabel.kernels.all_labels.label_pass import learning
from megalabel.kernels.core.checks import must_be_finite
from megalabel.kernels.core.dispatch import fast_body
from megalabel.kernels.fan_in import plain as fan_in_plain
from megalabel.kernels.fan_in.layer import FanIn
from megalabel.kernels.updates.adam_rule import Rule


def scores(x: Tensor, weight: Tensor, bias: Tensor | None, layer: FanIn) -> Tensor:
    """The logits (B, L) of all labels; layer is made of these tensors."""
    return _Scores.apply(x, weight, bias, layer)


def loss_of(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    layer: FanIn,
    places: Tensor,
    loss: str,
    *,
    scale: float,
    rule: Rule | None,
    wanted: bool,
) -> Tensor:
    """The loss, whose backward pass makes all gradients, and with a rule spends those by weight and bias."""
    return _Loss.apply(x, weight, bias, layer, places, loss, scale, rule, wanted)


class _Scores(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, layer: FanIn) -> Tensor:
        xt = transposed(x, layer)
        ctx.save_for_backward(xt, weight, bias)
        ctx.layer, ctx.dtype = layer, x.dtype
        return run("scores", xt, layer, 0, layer.n_labels).t()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, dz: Tensor) -> tuple[Tensor | None, ...]:
        xt, _, _ = ctx.saved_tensors  # looks whether the weights changed since
        dz = dz.to(xt.dtype).t().contiguous()
        found = run("spread", xt, ctx.layer, dz, ctx.needs_input_grad[:3])
        embedding = None if found.embedding is None else found.embedding.t().to(ctx.dtype)
        return embedding, found.weight, found.bias, None


class _Loss(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        layer: FanIn,
        places: Tensor,
        loss: str,
        scale: float,
        rule: Rule | None,
        wanted: bool,
    ) -> Tensor:
        xt = transposed(x, layer)
        must_be_finite(xt, "the embeddings that the encoder gave")
        # With a rule not saved through autograd, whose guard against in-place changes would refuse our own update.
        ctx.save_for_backward(xt, *((weight, bias) if rule is None else ()))
        ctx.layer, ctx.places, ctx.loss, ctx.scale, ctx.rule, ctx.dtype = layer, places, loss, scale, rule, x.dtype
        if not wanted:
            return weight.new_full((), float("nan"))
        value = (run("value", xt, layer, loss, places) * scale).to(weight.dtype)
        must_be_finite(value, "the loss")
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        xt, layer, rule = ctx.saved_tensors[0], ctx.layer, ctx.rule
        of_x = of_w = float(upstream) * ctx.scale
        if rule is not None:
            must_be_finite(upstream, "the gradient of the loss itself")
            of_w /= rule.loss_scale
            rule.prepare(*learning(layer.weight, layer.bias, ctx.needs_input_grad[:3]))
        found = run(
            "gradients",
            xt,
            layer,
            ctx.loss,
            ctx.places,
            rule=rule,
            of_x=of_x,
            of_w=of_w,
            wants=ctx.needs_input_grad[:3],
        )
        embedding = found.embedding
        if embedding is not None:
            must_be_finite(embedding, "the embedding's gradient")
            embedding = embedding.t().to(ctx.dtype)
        return embedding, found.weight, found.bias, None, None, None, None, None, None


def run(operation: str, xt: Tensor, layer: FanIn, *arguments: Any, **named: Any) -> Any:
    """The function of this name of the body that fits the layer, in the weights' own type also under autocast."""
    beside = [layer.inputs] if layer.bias is None else [layer.inputs, layer.bias]
    fast = all(t.is_contiguous() for t in beside)
    body = (fast_body(__package__, "fixed_fan_in", layer.weight) if fast else None) or fan_in_plain
    with torch.autocast(xt.device.type, enabled=False):
        return getattr(body, operation)(xt, layer, *arguments, **named)


def transposed(x: Tensor, layer: FanIn) -> Tensor:
    """(D, B), so that a label's inputs are rows and texts lie side by side."""
    return x.detach().to(layer.weight.dtype).t().contiguous()
