"""A loss summed over every label, computed with only one chunk of the logits in memory at a time.

    z[b, l] = x[b] · weight[l] + bias[l]
    loss    = scale · Σ_b Σ_l loss(z[b, l], y[b, l]),   y = 1 on the positives, else 0

The losses are in `label_loss.py`: binary cross-entropy with logits, and the squared hinge.

The gradient with respect to the logits does not need the value of the loss. A training step without the value
costs three products (logits, gradient of the embedding, gradient of the weights) and nothing in the forward pass;
with the value the logits are computed twice. Source: Renée (Jain et al., MLSys 2023), which writes down the
gradient of BCE for all of L at once; processing L in chunks that are updated at once is our addition.

There are two ways to train:

* With a rule (`SGDRule`, `AdamRule` or another `UpdateRule`) the backward pass updates the weights in place, chunk
  by chunk, and the gradient of the embedding is that of the weights *before* the update. Weights or a bias that
  require no gradient do not change. There is no gradient buffer, and the only optimizer state are the moments. The
  upstream gradient of the scalar multiplies the gradient of the embedding; that of the weights is multiplied by
  upstream / step.loss_scale, so that factors of the loss reach the weights and the scale of a loss scaler does
  not: this is Renée's split loss scaling, without which float16 training diverges.
* Without a rule this is an ordinary differentiable function: weight.grad and bias.grad are set, any optimizer
  works, and the upstream gradient multiplies all gradients.

On a CPU each of torch's threads processes a range of labels (`core/threads.py`); on CUDA chunks are processed one
after the other. `label_pass.py` does both; on CUDA `_triton/label_pass.py` takes its place for float32 and narrow
weights, with kernels that learn for `SGDRule`, `NarrowSGDRule` and `AdamRule`. In both the target is subtracted
before the probability is rounded to the dtype of the products. `plain` is the reference implementation of the
tests.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from megalabel.errors import SettingError
from megalabel.kernels.all_labels import label_loss, label_pass
from megalabel.kernels.all_labels.implementation import chunks_for, pass_for
from megalabel.kernels.all_labels.label_pass import PositiveCells
from megalabel.kernels.all_labels.request import Request
from megalabel.kernels.core.checks import check_bias, check_own_memory, diverged, must_be_finite
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.rule import ONLY_PART, StepContext, UpdateRule, check_weight_type
from megalabel.kernels.updates.sgd_rule import SGDRule
from megalabel.types import Positives

__all__ = ["AdamRule", "SGDRule", "StepContext", "UpdateRule", "all_labels_loss", "plain"]

COMPUTE_DTYPES = (None, torch.float32, torch.bfloat16, torch.float16)


def plain(x: Tensor, weight: Tensor, bias: Tensor | None, positives: Positives, loss: str = "bce") -> Tensor:
    """The same loss as one dense expression with autograd; allocates several B×L matrices."""
    z = x.to(weight.dtype) @ weight.t()
    if bias is not None:
        z = z + bias
    return label_loss.plain(loss, z, positives)


def all_labels_loss(
    x: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    positives: Positives,
    *,
    loss: str = "bce",
    scale: float = 1.0,
    rule: UpdateRule | None = None,
    step: StepContext = ONLY_PART,
    value: bool = True,
    chunk: int | None = None,
    compute_dtype: torch.dtype | None = None,
) -> Tensor:
    """The loss of all labels, summed over texts and labels, times `scale`.

    Args:
        x: embeddings (B, D), any floating dtype.
        weight: (L, D) float32 or float64; with a rule any dtype in its WEIGHT_DTYPES, and without gradients
            (no_grad) any floating dtype. Or a `NarrowTable`, whose weights only a rule can train, such as
            `NarrowSGDRule` or `NarrowAdagradRule`: a chunk of them at a time is read as float32, and rounded after
            the update.
        bias: (L,) of the same dtype, float32 beside a narrow table; or None.
        positives: the pairs with target 1, in any order; repeated pairs count once. Their `weights`, if there are
            any, are the factors of the texts' losses.
        loss: "bce", binary cross-entropy with logits, or "squared_hinge".
        scale: multiplies value and gradients; 1 / (B·L) makes the sum a mean.
        rule: the update that the backward pass makes in place; None for ordinary gradients.
        step: the position of this micro-batch within its optimizer step, which is passed to the rule.
        value: whether to compute the value, which costs one more product. Without gradients (no_grad) it is always
            computed.
        chunk: number of labels processed at a time; None to choose it by the cache sizes. It affects rounding
            only.
        compute_dtype: dtype of the matrix products, None for that of the weights. Weights and momentum keep their
            dtype; the gradient of the embedding is accumulated in that of the weights, at least float32.

    Returns:
        A scalar, float32 (float64 for float64 weights); NaN, but connected to the graph, if `value` is False.

    Raises:
        SettingError: shapes or dtypes that do not match, an unknown loss, a scale that is not finite; with a rule,
            weights that share memory; or training has diverged, that is, the embeddings, the loss, the upstream
            gradient with a rule, or the gradient of the embedding are not finite (float16 products excepted in the
            last case, since the loss scaler handles their overflows).
        DataError: a positive pair outside (B, L).
    """
    table, weight = (weight, weight.codes) if isinstance(weight, NarrowTable) else (None, weight)
    _check(x, weight, bias, chunk, compute_dtype, narrow=table is not None)
    if table is None or weight.requires_grad:
        check_weight_type(weight, rule)
    label_loss.check_loss(loss)
    if not math.isfinite(scale):
        raise SettingError(f"scale={scale}", wanted="a finite number", next_step="correct it", where="scale")
    if rule is not None:
        check_own_memory(weight, bias)
    wanted = value or not torch.is_grad_enabled()
    task = _Task(positives, loss, scale, rule, step, wanted, chunk, compute_dtype, table)
    found: Tensor = _AllLabelsLoss.apply(x, weight, bias, task)  # type: ignore[no-untyped-call]
    return found


class _Task(NamedTuple):
    """The arguments that are not tensors with gradients."""

    positives: Positives
    loss: str
    scale: float
    rule: UpdateRule | None
    step: StepContext
    wanted: bool
    chunk: int | None
    compute_dtype: torch.dtype | None
    table: NarrowTable | None = None  # the weights, where they are stored in a narrow type

    def weight(self, given: Tensor) -> Tensor | NarrowTable:
        """The weights as a pass reads them; `given` are those or their codes."""
        return given.detach() if self.table is None else self.table


class _AllLabelsLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None, task: _Task) -> Tensor:
        source = task.weight(weight)
        inputs = x.to(task.compute_dtype or (label_pass.sum_dtype(source) if task.table else weight.dtype))
        body = pass_for(inputs, source)
        chunks = chunks_for(body, inputs, source, task.chunk)
        ones = PositiveCells.from_positives(task.positives, x.shape[0], chunks)
        must_be_finite(x, "the embeddings that the encoder gave")
        if task.rule is None:
            ctx.save_for_backward(inputs, weight, bias)
        else:
            # Not saved through autograd, whose guard against in-place changes would refuse our own update.
            ctx.save_for_backward(inputs)
            ctx.own = weight.detach(), _detach(bias)
        ctx.task, ctx.body, ctx.chunks, ctx.ones, ctx.dtype = task, body, chunks, ones, x.dtype
        wide = label_pass.sum_dtype(source)
        if not task.wanted:
            return x.new_full((), float("nan"), dtype=wide)
        with torch.autocast(x.device.type, enabled=False):
            total = body.value(task.loss, inputs, source, _detach(bias), ones, chunks, task.positives.weights)
        found: Tensor = total.mul_(task.scale).to(wide)
        must_be_finite(found, "the loss")
        return found

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        task: _Task = ctx.task
        weights = task.positives.weights
        factor = float(upstream)  # waits for a GPU once
        request = Request.of_loss(ctx.needs_input_grad[:3], factor, task.scale, task.rule, task.step, weights)
        if task.rule is None:
            x, weight, bias = ctx.saved_tensors
        else:
            if not math.isfinite(factor):
                raise diverged("the gradient of the loss itself")
            (x,) = ctx.saved_tensors
            weight, bias = ctx.own
            request.prepare(weight, bias)
        source, bias = task.weight(weight), _detach(bias)
        with torch.autocast(x.device.type, enabled=False):
            found = ctx.body.gradients(task.loss, x, source, bias, ctx.ones, ctx.chunks, request)
        embedding = found.embedding
        if embedding is not None:
            if x.dtype != torch.float16:
                must_be_finite(embedding, "the embedding's gradient")
            embedding = embedding.to(ctx.dtype)
        return embedding, found.weight, found.bias, None


def _detach(x: Tensor | None) -> Tensor | None:
    return None if x is None else x.detach()


def _check(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    chunk: int | None,
    compute_dtype: torch.dtype | None,
    *,
    narrow: bool,
) -> None:
    if x.dim() != 2 or weight.dim() != 2 or x.shape[1] != weight.shape[1] or weight.shape[0] == 0:
        raise SettingError(
            f"embeddings {tuple(x.shape)} and weights {tuple(weight.shape)}",
            wanted="(B, D) and (L, D) with the same D, and at least one label",
            next_step="give the head the encoder's width as `dim`",
        )
    check_bias(weight, bias, torch.float32 if narrow else None)
    if chunk is not None and chunk < 1:
        raise SettingError(f"chunk={chunk}", wanted="1 or more, or None", next_step="leave it out", where="chunk")
    if compute_dtype not in COMPUTE_DTYPES:
        raise SettingError(
            f"compute_dtype={compute_dtype}",
            wanted="None, torch.float32, torch.bfloat16 or torch.float16",
            next_step="leave it out on a CPU, take torch.bfloat16 on a recent GPU",
            where="compute_dtype",
        )
