"""The autograd functions of `fixed_fan_in.py`, and which body runs beneath them."""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from megalabel.errors import SettingError
from megalabel.kernels import fan_in_plain
from megalabel.kernels.adam_rule import Rule
from megalabel.kernels.candidates import all_finite
from megalabel.kernels.fan_in_layer import FanIn


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
        _must_be_finite(xt, "the embeddings that the encoder gave")
        # With a rule not saved through autograd, whose guard against in-place changes would refuse our own update.
        ctx.save_for_backward(xt, *((weight, bias) if rule is None else ()))
        ctx.layer, ctx.places, ctx.loss, ctx.scale, ctx.rule, ctx.dtype = layer, places, loss, scale, rule, x.dtype
        if not wanted:
            return weight.new_full((), float("nan"))
        value = (run("value", xt, layer, loss, places) * scale).to(weight.dtype)
        _must_be_finite(value, "the loss")
        return value

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        xt, layer, rule = ctx.saved_tensors[0], ctx.layer, ctx.rule
        of_x = of_w = float(upstream) * ctx.scale
        if rule is not None:
            _must_be_finite(upstream, "the gradient of the loss itself")
            of_w /= rule.loss_scale
            rule.prepare(layer.weight, layer.bias)
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
            _must_be_finite(embedding, "the embedding's gradient")
            embedding = embedding.t().to(ctx.dtype)
        return embedding, found.weight, found.bias, None, None, None, None, None, None


def run(operation: str, xt: Tensor, layer: FanIn, *arguments: Any, **named: Any) -> Any:
    """The function of this name of the body that fits the layer, in the weights' own type also under autocast."""
    tensors = [layer.weight, layer.inputs] + ([] if layer.bias is None else [layer.bias])
    body: Any = fan_in_plain
    if layer.weight.dtype == torch.float32 and all(t.is_contiguous() for t in tensors):
        body = _fast_body(xt.device.type) or fan_in_plain
    with torch.autocast(xt.device.type, enabled=False):
        return getattr(body, operation)(xt, layer, *arguments, **named)


@functools.cache
def _fast_body(device: str) -> Any:
    """The module for float32 layers on a kind of device, or None."""
    if device == "cpu":
        return importlib.import_module("megalabel.kernels._cpu.fixed_fan_in")
    if device == "cuda" and importlib.util.find_spec("triton") is not None:
        return importlib.import_module("megalabel.kernels._triton.fixed_fan_in")
    return None


def transposed(x: Tensor, layer: FanIn) -> Tensor:
    """(D, B), so that a label's inputs are rows and texts lie side by side."""
    return x.detach().to(layer.weight.dtype).t().contiguous()


def _must_be_finite(x: Tensor, what: str) -> None:
    """Looks at (B, D) numbers at most, so that it costs nothing beside the pass over L."""
    if not all_finite(x):
        raise SettingError(
            f"training has diverged: {what} contains inf or NaN",
            wanted="finite numbers",
            next_step="go back to the last checkpoint and lower the learning rate of head or encoder, "
            "or warm it up for longer",
            where="lr",
        )
