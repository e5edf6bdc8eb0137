"""Scores of candidates, and the binary cross-entropy over them, without gathering rows of the table.

    logit[c] = views[text of c] · weight[row of c] + bias[row of c]
    value    = scale · Σ_c  softplus(logit[c]) − target[c] · logit[c]
    target[c] = 1 if (text of c, row of c) is a positive, else 0

A straightforward implementation gathers the rows of the candidates into a tensor (C, D), once in the forward and
once in the backward pass. Here, one pass computes logit, loss and ∂loss/∂logit of a block and adds its
contribution to the gradient of the views while its rows are still in the L1 cache. Rows of a narrow table exist as
float32 in that cache alone. The gradient of the table stays
factored (`TableGradient`) until `row_step` applies it.

Implementations: numba on CPUs (`_cpu/candidate_scores.py`, which visits rows in order, so that a row is read from
memory once for all texts) and Triton on CUDA, both for float32. `plain_scores` and `plain_bce` define the results
and run in all other cases.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidates import Candidates, TableGradient, positives_by_text
from megalabel.kernels.candidates.row_checks import check_scored, own_dtype
from megalabel.kernels.core.checks import must_be_finite
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.types import Positives

__all__ = ["candidate_bce", "candidate_scores", "plain_bce", "plain_scores"]

_COMPILED = Operation(__package__, "candidate_scores", ("cpu", "triton"))
_NARROW = Operation(__package__, "candidate_scores")  # the body for GPUs reads float32 alone


def reads_narrow(table: NarrowTable, bias: Tensor | None, candidates: Candidates) -> bool:
    """Whether `candidate_bce` takes a narrow table: on a CPU, where not every row is a candidate of every text."""
    packed = bias is None or bias.is_contiguous()
    return packed and not candidates.whole and _NARROW.for_device(table.device) is not None


def plain_scores(views: Tensor, weight: Tensor, bias: Tensor | None, candidates: Candidates) -> Tensor:
    """Logits (C,) by gathering rows, differentiable by autograd; needs memory for two tensors (C, D)."""
    rows = candidates.rows_of_cells()
    logits = (views[candidates.texts_of_cells()] * weight[rows]).sum(1)
    return logits if bias is None else logits + bias[rows]


def plain_bce(
    views: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    candidates: Candidates,
    positives: Positives,
    scale: float,
) -> Tensor:
    """The value of `candidate_bce` as an expression for autograd, differentiable by views, weight and bias."""
    logits = plain_scores(views, weight, bias, candidates)
    offsets, rows = positives_by_text(positives, candidates.batch, weight.shape[0])
    targets = plain_targets(candidates, offsets, rows, weight.shape[0]).to(logits.dtype)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    if positives.weights is not None:
        each = each * positives.weights.to(each.dtype)[candidates.texts_of_cells()]
    return scale * each.sum()


def plain_targets(candidates: Candidates, offsets: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """(C,) bool: which cells are positives, given in the layout of `positives_by_text`."""
    texts = torch.arange(candidates.batch, device=rows.device)
    texts = texts.repeat_interleave(offsets.diff(), output_size=len(rows))
    cells = candidates.texts_of_cells() * n_rows + candidates.rows_of_cells()
    return torch.isin(cells, texts * n_rows + rows)


@torch.no_grad()
def candidate_scores(views: Tensor, weight: Tensor, bias: Tensor | None, candidates: Candidates) -> Tensor:
    """Logits of the candidates, without gradients.

    Args:
        views: (B, D), any floating type.
        weight: (n, D) float32 or float64.
        bias: (n,) of the same type, or None.
        candidates: of B texts, with rows below n.

    Returns:
        (C,) in the dtype of the weights.

    Raises:
        SettingError: shapes or dtypes do not fit, or views are not finite.
    """
    check_scored(views, weight, bias, candidates)
    x = views.detach().to(weight.dtype).contiguous()
    fast = _COMPILED.for_table(weight)
    scores = plain_scores if fast is None else fast.scores
    with torch.autocast(weight.device.type, enabled=False):
        logits: Tensor = scores(x, weight.detach(), None if bias is None else bias.detach(), candidates)
    return logits


def candidate_bce(
    views: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    candidates: Candidates,
    positives: Positives,
    scale: float,
) -> tuple[Tensor, Tensor, TableGradient]:
    """Binary cross-entropy with logits over the candidates, summed, times `scale`.

    Args:
        views: (B, D), any floating type.
        weight: (n, D) float32 or float64; it gets no gradient from autograd. Or a narrow table, with a float32
            bias, where `reads_narrow` is true.
        bias: (n,) of the same dtype, or None; it gets no gradient from autograd.
        candidates: of B texts, with rows below n.
        positives: pairs of a text in the batch (`rows`) and a row of the table (`labels`), in any order. A
            positive that is not a candidate of its text is ignored. Their `weights`, if there are any, are the
            factors of the texts' losses.
        scale: a factor of the sum, such as 1 / (number of candidates) for the mean.

    Returns:
        value: (), connected to the views only. If gradients are enabled but the views require none (a frozen
            encoder), it has a graph nevertheless, so that backward can be called and scales the table's gradient.
        logits: (C,) in the dtype of the weights, without a graph.
        gradient: the gradient of the table, an argument of `row_step`. Backward multiplies it by the upstream
            gradient; if backward is never called, it is that of an upstream gradient of 1.

    Raises:
        SettingError: shapes or dtypes do not fit, or training has diverged: the views or the value are not finite.
        DataError: a positive pair outside (B, n).
    """
    check_scored(views, weight, bias, candidates)
    x = views.detach().to(own_dtype(weight)).contiguous()
    offsets, rows = positives_by_text(positives, candidates.batch, weight.shape[0])
    wants = torch.is_grad_enabled() and views.requires_grad
    bce, table = _body_of(weight, bias, candidates)
    with torch.no_grad(), torch.autocast(views.device.type, enabled=False):
        value, logits, cells, dviews = bce(
            x, table, None if bias is None else bias.detach(), candidates, offsets, rows, scale, wants
        )
        if positives.weights is not None:
            value = _weigh_(value, logits, cells, dviews, candidates, positives.weights.to(cells.dtype), scale)
    must_be_finite(value, "the loss")
    gradient = TableGradient(x, candidates, cells)
    if torch.is_grad_enabled():
        anchor = views if wants else torch.zeros((), requires_grad=True)
        value = _Value.apply(anchor, value, dviews, cells, weakref.ref(gradient))  # type: ignore[no-untyped-call]
    return value, logits, gradient


def _body_of(weight: Tensor | NarrowTable, bias: Tensor | None, candidates: Candidates) -> tuple[Any, Any]:
    """The pass that computes the loss, and the table that it reads."""
    if isinstance(weight, Tensor):
        fast = _COMPILED.for_table(weight)
        return (_plain_pass if fast is None else fast.bce), weight.detach()
    if not reads_narrow(weight, bias, candidates):
        raise SettingError(
            f"weights in {weight.kind.name} that no compiled body reads",
            wanted="some rows of a table on a CPU as candidates",
            next_step="call narrow_bce, which takes every narrow table",
            where="weight",
        )
    return _NARROW.always().bce, weight


def _weigh_(
    value: Tensor,
    logits: Tensor,
    cells: Tensor,
    dviews: Tensor | None,
    candidates: Candidates,
    weights: Tensor,
    scale: float,
) -> Tensor:
    """Multiplies the gradients of each text by its weight (B,), in place, and returns the weighted value."""
    # The gradient (sigmoid(z) − target) · scale has the sign of the target. Where it is 0, the loss is as well.
    z = torch.where(cells * scale < 0, -logits, torch.where(cells == 0, -logits.abs(), logits))
    of_cells = weights[candidates.texts_of_cells()]
    losses = z.clamp_min(0) + z.abs().neg().exp().log1p()
    cells.mul_(of_cells)
    if dviews is not None:
        dviews.mul_(weights[:, None])
    return (scale * (losses.double() @ of_cells.double())).to(value.dtype)


class _Value(torch.autograd.Function):
    """A value whose gradients are already computed: backward multiplies them by the upstream gradient."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, value: Tensor, dviews: Tensor | None, cells: Tensor, gradient: Any
    ) -> Tensor:
        ctx.save_for_backward(cells, dviews)
        # A weak reference, so that keeping the value, for example for a log, does not keep the table's gradient.
        ctx.gradient, ctx.dtype = gradient, anchor.dtype
        return value.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
        cells, dviews = ctx.saved_tensors
        gradient = ctx.gradient()
        if gradient is not None:
            gradient.receive(cells, upstream)
        found = None if dviews is None else (dviews * upstream).to(ctx.dtype)
        return found, None, None, None, None


def _plain_pass(
    views: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    candidates: Candidates,
    offsets: Tensor,
    rows: Tensor,
    scale: float,
    wants_views: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Value (), logits (C,), their gradient (C,), and that of the views (B, D) if needed, as the compiled code."""
    logits = plain_scores(views, weight, bias, candidates)
    targets = plain_targets(candidates, offsets, rows, weight.shape[0]).to(logits.dtype)
    loss = torch.nn.functional.binary_cross_entropy_with_logits
    value = scale * loss(logits, targets, reduction="sum")
    cells = (logits.sigmoid() - targets) * scale
    dviews = None
    if wants_views:
        parts = cells[:, None] * weight[candidates.rows_of_cells()]
        dviews = torch.zeros_like(views).index_add_(0, candidates.texts_of_cells(), parts)
    return value, logits, cells, dviews
