"""Scores of candidates only, and the binary cross-entropy over them, without gathering a row of the table.

    logit[c] = views[text of c] · weight[row of c] + bias[row of c]
    value    = scale · Σ_c  softplus(logit[c]) − target[c] · logit[c]
    target[c] = 1 where (text of c, row of c) is a positive, else 0

The obvious way gathers the candidates' rows into a tensor (C, D), once forward and once backward. Here one
pass computes logit, loss and ∂loss/∂logit of a block and adds the block's part to the views' gradient while
its rows are still in the first-level cache. The table's gradient stays in factors (`TableGradient`) until
`row_step` applies it.

What runs where: numba on a CPU (`_cpu/candidate_scores.py`, in the order of the rows, so that a row comes from
memory once for all texts), Triton on CUDA, both for float32. `plain_scores` and `plain_bce` are the definition,
and run for everything else.
"""

from __future__ import annotations

import weakref
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from megalabel.errors import SettingError
from megalabel.kernels.candidates.candidates import Candidates, TableGradient, positives_by_text
from megalabel.kernels.core.checks import check_bias, must_be_finite
from megalabel.kernels.core.dispatch import Operation
from megalabel.types import Positives

__all__ = ["candidate_bce", "candidate_scores", "plain_bce", "plain_scores"]

_COMPILED = Operation(__package__, "candidate_scores", ("cpu", "triton"))


def plain_scores(views: Tensor, weight: Tensor, bias: Tensor | None, candidates: Candidates) -> Tensor:
    """Logits (C,) by gathering rows; holds two (C, D) tensors, and autograd differentiates it."""
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
    """The value of `candidate_bce` as an expression that autograd differentiates by everything."""
    logits = plain_scores(views, weight, bias, candidates)
    offsets, rows = positives_by_text(positives, candidates.batch, weight.shape[0])
    targets = plain_targets(candidates, offsets, rows, weight.shape[0]).to(logits.dtype)
    return scale * torch.nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="sum")


def plain_targets(candidates: Candidates, offsets: Tensor, rows: Tensor, n_rows: int) -> Tensor:
    """(C,) bool: which cells are positives, as `positives_by_text` lists them."""
    texts = torch.arange(candidates.batch, device=rows.device).repeat_interleave(offsets.diff())
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
        (C,) in the weights' type.

    Raises:
        SettingError: shapes or types that do not fit, or views that are not finite.
    """
    _check(views, weight, bias, candidates)
    x = views.detach().to(weight.dtype).contiguous()
    fast = _COMPILED.for_table(weight)
    scores = plain_scores if fast is None else fast.scores
    with torch.autocast(weight.device.type, enabled=False):
        logits: Tensor = scores(x, weight.detach(), None if bias is None else bias.detach(), candidates)
    return logits


def candidate_bce(
    views: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    candidates: Candidates,
    positives: Positives,
    scale: float,
) -> tuple[Tensor, Tensor, TableGradient]:
    """Binary cross-entropy with logits over the candidates, summed, times `scale`.

    Args:
        views: (B, D), any floating type.
        weight: (n, D) float32 or float64; it gets no gradient through autograd.
        bias: (n,) of the same type, or None; likewise.
        candidates: of B texts, with rows below n.
        positives: pairs of a text in the batch (`rows`) and a row of the table (`labels`), in any order. A
            positive that is no candidate of its text is left out.
        scale: for instance 1 / number of candidates, for their mean.

    Returns:
        value: (), connected to the views alone. Where gradients are on and the views want none (a frozen
            encoder) it has a graph all the same, so that backward works and reaches the table's gradient.
        logits: (C,) in the weights' type, without a graph.
        gradient: the table's gradient, which belongs to `row_step`. Backward multiplies it by the upstream
            gradient; if backward is never called it is that of an upstream gradient of 1.

    Raises:
        SettingError: shapes or types that do not fit; or training has diverged: the views or the value are
            not finite.
        DataError: a positive pair outside (B, n).
    """
    _check(views, weight, bias, candidates)
    x = views.detach().to(weight.dtype).contiguous()
    offsets, rows = positives_by_text(positives, candidates.batch, weight.shape[0])
    wants = torch.is_grad_enabled() and views.requires_grad
    fast = _COMPILED.for_table(weight)
    bce = _plain_pass if fast is None else fast.bce
    with torch.no_grad(), torch.autocast(weight.device.type, enabled=False):
        value, logits, cells, dviews = bce(
            x, weight.detach(), None if bias is None else bias.detach(), candidates, offsets, rows, scale, wants
        )
    must_be_finite(value, "the loss")
    gradient = TableGradient(x, candidates, cells)
    if torch.is_grad_enabled():
        anchor = views if wants else torch.zeros((), requires_grad=True)
        value = _Value.apply(anchor, value, dviews, cells, weakref.ref(gradient))  # type: ignore[no-untyped-call]
    return value, logits, gradient


class _Value(torch.autograd.Function):
    """A value whose gradients are known already: backward multiplies them by what comes from above."""

    @staticmethod
    def forward(
        ctx: Any, anchor: Tensor, value: Tensor, dviews: Tensor | None, cells: Tensor, gradient: Any
    ) -> Tensor:
        ctx.save_for_backward(cells, dviews)
        # A weak reference: who keeps the value, say for a log, does not keep the table's gradient.
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
    """As the compiled implementations: value (), logits (C,), cells (C,), the views' gradient (B, D) if wanted."""
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


def _check(views: Tensor, weight: Tensor, bias: Tensor | None, candidates: Candidates) -> None:
    if views.dim() != 2 or weight.dim() != 2 or views.shape[1] != weight.shape[1] or weight.shape[0] == 0:
        raise SettingError(
            f"views {tuple(views.shape)} and weights {tuple(weight.shape)}",
            wanted="(B, D) and (n, D) with the same D, and at least one row",
            next_step="give the head the encoder's width as `dim`",
        )
    if weight.dtype not in (torch.float32, torch.float64):
        raise SettingError(
            f"weights of type {weight.dtype}",
            wanted="float32 (or float64), since small updates vanish in narrower ones",
            next_step="keep the head in float32",
        )
    check_bias(weight, bias)
    if candidates.batch != views.shape[0]:
        raise SettingError(
            f"candidates of {candidates.batch} texts beside views of {views.shape[0]}",
            wanted="candidates for each text of the batch",
            next_step="make the candidates from this batch's shortlist",
        )
    if candidates.n_rows > weight.shape[0]:
        raise SettingError(
            f"a candidate row {candidates.n_rows - 1} for a table of {weight.shape[0]} rows",
            wanted="rows of the table",
            next_step="check that tree and tables belong together: one row per node of the level",
        )
    if {weight.device, candidates.device} != {views.device}:
        raise SettingError(
            f"views on {views.device}, weights on {weight.device}, candidates on {candidates.device}",
            wanted="all on one device",
            next_step="move them with .to(device)",
        )
    must_be_finite(views, "what the encoder gave")
