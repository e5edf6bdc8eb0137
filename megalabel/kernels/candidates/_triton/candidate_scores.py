"""Triton implementation of `candidates/candidate_scores.py`: reads a row once for score, loss and gradient.

A program processes consecutive cells of one text: it loads a tile of rows into registers, computes logits, loss
and ∂loss/∂logit, and adds the tile's contribution to the text's gradient. If there are few texts, the cells of a
text are divided among several programs, whose gradients are summed afterwards in order: without atomic additions,
the same step gives the same bits. If every row is a candidate of every text (the first level of a tree), scores
and gradients are matrix products, computed by cuBLAS.

Only checked tensors on one device may be passed: CUDA, or the CPU with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.core._triton.losses import bce_gradient, bce_value

# A warp holds 2 rows of up to 1024 numbers besides the view and its gradient. With 168 registers per thread, 12
# warps fit on a multiprocessor and keep loads of 72 KB in flight at D = 768. Programs of a single warp need no
# barriers; programs of several warps would need about a dozen per tile.
_OF_A_WARP = 1024
# The intended number of programs: as many as the 132 multiprocessors of an H100 hold at once. It is a constant,
# not a property of the GPU in use, so that sums round in the same way on every GPU.
_PROGRAMS = 1536
_PAIRS = 16  # positives compared with a tile at a time


def scores(views: Tensor, weight: Tensor, bias: Tensor | None, candidates: Candidates) -> Tensor:
    """Logits (C,)."""
    if candidates.whole:
        return _products(views, weight, bias, candidates).view(-1)
    logits = views.new_empty(candidates.n_cells)
    if candidates.n_cells:
        _launch(views, weight, bias, candidates, logits)
    return logits


def bce(
    views: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    candidates: Candidates,
    offsets: Tensor,
    rows: Tensor,
    scale: float,
    wants_views: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """Value (), logits (C,), ∂value/∂logits (C,), and ∂value/∂views (B, D) if needed.

    Positives of text b are rows[offsets[b]:offsets[b + 1]], strictly increasing.
    """
    if candidates.whole:
        return _bce_of_products(views, weight, bias, candidates, offsets, rows, scale, wants_views)
    logits, cells = views.new_empty(candidates.n_cells), views.new_empty(candidates.n_cells)
    if candidates.n_cells == 0:
        return views.new_zeros(()), logits, cells, torch.zeros_like(views) if wants_views else None
    loss, dviews = _launch(views, weight, bias, candidates, logits, cells, offsets, rows, scale, wants_views)
    value = (loss.sum(dtype=torch.float64) * scale).to(views.dtype)
    return value, logits, cells, dviews.sum(1) if wants_views else None


def _products(views: Tensor, weight: Tensor, bias: Tensor | None, candidates: Candidates) -> Tensor:
    n = candidates.n_rows
    columns = weight[:n].t()
    return views @ columns if bias is None else torch.addmm(bias[:n], views, columns)


def _bce_of_products(
    views: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    candidates: Candidates,
    offsets: Tensor,
    rows: Tensor,
    scale: float,
    wants_views: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    n, n_cells = candidates.n_rows, candidates.n_cells
    logits = _products(views, weight, bias, candidates)
    texts = torch.arange(candidates.batch, device=rows.device)
    texts = texts.repeat_interleave(offsets.diff(), output_size=len(rows))
    # Positives that are not candidates are written to one extra place: dropping them would synchronize with the
    # GPU.
    targets = logits.new_zeros(n_cells + 1).index_fill_(0, torch.where(rows < n, texts * n + rows, n_cells), 1)
    targets = targets[:-1].view(logits.shape)
    loss = binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(dtype=torch.float64)
    sign = 1 - 2 * targets  # computes σ(z) − 1 as −σ(−z)
    cells = (logits * sign).sigmoid_().mul_(sign).mul_(scale)
    dviews = cells @ weight[:n] if wants_views else None
    return (loss * scale).to(views.dtype), logits.view(-1), cells.view(-1), dviews


def _launch(
    views: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    candidates: Candidates,
    logits: Tensor,
    cells: Tensor | None = None,
    offsets: Tensor | None = None,
    rows: Tensor | None = None,
    scale: float = 1.0,
    wants_views: bool = False,
) -> tuple[Tensor, Tensor]:
    """Fills logits and cells; returns the loss (B, parts) without scale, and dviews (B, parts, D) if needed."""
    (batch, dim), n_cells = views.shape, candidates.n_cells
    width = max(32, triton.next_power_of_2(dim))
    height = min(8, max(2, 2 * _OF_A_WARP // width))
    parts = max(1, min(triton.cdiv(_PROGRAMS, batch), n_cells // (batch * height)))
    loss = views.new_empty(batch, parts)
    dviews = views.new_empty((batch, parts, dim) if wants_views else 0)
    with torch.cuda.device_of(views):  # Triton launches on the current device, not on that of the tensors
        _pass[(batch * parts,)](
            views,
            weight,
            None if bias is None else bias.contiguous(),
            candidates.rows_of_cells(),
            candidates.text_cells(),
            offsets,
            rows,
            logits,
            cells,
            loss,
            dviews,
            float(scale),
            dim,
            parts,
            HAS_BIAS=bias is not None,
            LOSS=cells is not None,
            WANTS_VIEWS=wants_views,
            HEIGHT=height,
            WIDTH=width,
            PAIRS=_PAIRS,
            num_warps=min(8, max(1, width // _OF_A_WARP)),
        )
    return loss, dviews


@triton.jit
def _pass(  # long: a pass over a tile keeps its logits in registers
    views,
    weight,
    bias,
    row_of_cell,
    text_cells,
    offsets,
    positives,
    logits,
    cells,
    loss,
    dviews,
    scale,
    dim,
    parts,
    HAS_BIAS: tl.constexpr,
    LOSS: tl.constexpr,
    WANTS_VIEWS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    PAIRS: tl.constexpr,
):
    program = tl.program_id(0)
    text = (program // parts).to(tl.int64)
    first, end = tl.load(text_cells + text), tl.load(text_cells + text + 1)
    share = tl.cdiv(tl.cdiv(end - first, parts), HEIGHT) * HEIGHT
    first += program % parts * share
    end = tl.minimum(first + share, end)

    d = tl.arange(0, WIDTH)
    x = tl.load(views + text * dim + d[None, :], mask=(d < dim)[None, :], other=0.0)
    of_loss = tl.zeros([HEIGHT], tl.float32)
    of_view = tl.zeros([WIDTH], tl.float32)
    if LOSS:
        gold, last_gold = tl.load(offsets + text), tl.load(offsets + text + 1)
    at = first
    while at < end:
        cell = at + tl.arange(0, HEIGHT)
        live = cell < end
        row = tl.load(row_of_cell + cell, mask=live, other=0)
        inside = live[:, None] & (d < dim)[None, :]
        w = tl.load(weight + row[:, None] * dim + d[None, :], mask=inside, other=0.0)
        y = tl.zeros([HEIGHT], tl.float32)
        if LOSS:  # while the rows are being loaded
            p = gold
            while p < last_gold:
                pair = p + tl.arange(0, PAIRS)
                positive = tl.load(positives + pair, mask=pair < last_gold, other=-1)
                y += tl.sum((row[:, None] == positive[None, :]).to(tl.float32), 1)
                p += PAIRS
        z = tl.sum(w * x, 1)
        if HAS_BIAS:
            z += tl.load(bias + row, mask=live, other=0.0)
        tl.store(logits + cell, z, mask=live)
        if LOSS:
            of_loss += tl.where(live, bce_value(z, y), 0.0)
            g = scale * bce_gradient(z, y)
            tl.store(cells + cell, g, mask=live)
            if WANTS_VIEWS:
                of_view += tl.sum(g[:, None] * w, 0)
        at += HEIGHT
    if LOSS:
        tl.store(loss + program, tl.sum(of_loss, 0))
        if WANTS_VIEWS:
            tl.store(dviews + program.to(tl.int64) * dim + d, of_view, mask=d < dim)
