"""Triton kernels of `label_pass.py`: logits, loss and its gradient in one pass; the gradient of the embedding."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from megalabel.kernels.all_labels._triton.tiles import (
    Table,
    cuts_of,
    depth,
    logits,
    marked,
    products,
    scales,
    texts_of_tile,
)
from megalabel.kernels.core._triton.losses import bce_gradient, bce_value, hinge_gradient, hinge_value
from megalabel.kernels.rounding._triton.codes import numbers

HEIGHT = 64  # labels of a tile
_PROGRAMS = 264  # of the embedding's gradient: two for each multiprocessor of an H100, the same on every GPU


def slopes(
    loss: str,
    x: Tensor,
    table: Table,
    bias: Tensor | None,
    positives: Tensor,
    text_weights: Tensor | None,
    out: Tensor,
) -> None:
    """Writes the gradient of the loss with respect to the logits of some labels to out (n, B), in the type of x.

    x: (B, D) contiguous. table, bias: those of the n labels. positives: (P,) int64, label · B + text, strictly
    increasing. text_weights: (B,) float32.
    """
    _launch(loss, x, table, bias, positives, text_weights, out, None)


def losses(
    loss: str, x: Tensor, table: Table, bias: Tensor | None, positives: Tensor, text_weights: Tensor | None
) -> Tensor:
    """The loss of some labels, a float64 scalar: summed in float32 over a tile's labels, then in float64."""
    tiles = triton.cdiv(len(table.codes), HEIGHT)
    sums = torch.empty(tiles, x.shape[0], device=x.device)
    _launch(loss, x, table, bias, positives, text_weights, None, sums)
    return sums.sum(dtype=torch.float64)


def _launch(
    loss: str,
    x: Tensor,
    table: Table,
    bias: Tensor | None,
    positives: Tensor,
    text_weights: Tensor | None,
    out: Tensor | None,
    sums: Tensor | None,
) -> None:
    (n_texts, dim), n = x.shape, len(table.codes)
    width = texts_of_tile(n_texts)
    with torch.cuda.device_of(x):  # Triton launches on the current device, not on that of the tensors
        _slopes[(triton.cdiv(n, HEIGHT), triton.cdiv(n_texts, width))](
            x,
            table.codes,
            table.exponents,
            bias,
            positives,
            cuts_of(positives, n, HEIGHT, n_texts),
            text_weights,
            out,
            sums,
            n,
            n_texts,
            dim,
            BCE=loss == "bce",
            HAS_BIAS=bias is not None,
            WEIGHTED=text_weights is not None,
            VALUE=sums is not None,
            BITS=table.bits,
            HEIGHT=HEIGHT,
            WIDTH=width,
            STEP=depth(x),
            **products(x),
            num_warps=8,
        )


# What differs in the last chunk, or between chunks, is not specialized: each variant takes seconds to compile.
@triton.jit(do_not_specialize=["positives", "n"])
def _slopes(
    x,
    weight,
    exponents,
    bias,
    positives,
    cuts,
    text_weights,
    out,
    sums,
    n,
    n_texts,
    dim,
    BCE: tl.constexpr,
    HAS_BIAS: tl.constexpr,
    WEIGHTED: tl.constexpr,
    VALUE: tl.constexpr,
    BITS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    tile = tl.program_id(0).to(tl.int64)
    row = tile * HEIGHT + tl.arange(0, HEIGHT)
    b = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    live = row < n
    scale = scales(exponents, row, live, BITS)
    z = logits(x, weight, scale, row, live, b, n_texts, dim, HEIGHT, WIDTH, STEP, BITS, WIDE, PRECISION)
    if HAS_BIAS:
        z += tl.load(bias + row, mask=live, other=0.0)[:, None]
    y = marked(positives, cuts, tile, b, n_texts, HEIGHT, WIDTH)
    inside = live[:, None] & (b < n_texts)[None, :]
    if VALUE:
        found = bce_value(z, y) if BCE else hinge_value(z, y)
    else:
        found = bce_gradient(z, y) if BCE else hinge_gradient(z, y)
    if WEIGHTED:
        found *= tl.load(text_weights + b, mask=b < n_texts, other=0.0)[None, :]
    if VALUE:
        total = tl.sum(tl.where(inside, found, 0.0), 0)
        tl.store(sums + tile * n_texts + b, total, mask=b < n_texts)
    else:
        tl.store(out + row[:, None] * n_texts + b[None, :], found.to(out.dtype.element_ty), mask=inside)


def embedding_sums(x: Tensor, n_labels: int) -> Tensor:
    """Zeros (S, B, D) float32 to which `add_to_embedding` adds; the sum over S is the gradient of the embedding.

    n_labels: of the largest chunk, which is divided among S programs.
    """
    (n_texts, dim), width = x.shape, texts_of_tile(x.shape[0])
    tiles = triton.cdiv(n_texts, width) * triton.cdiv(dim, depth(x))
    parts = max(1, min(_PROGRAMS // tiles, n_labels // (4 * HEIGHT)))
    return torch.zeros(parts, n_texts, dim, device=x.device)


def add_to_embedding(dz: Tensor, table: Table, sums: Tensor) -> None:
    """Adds Σ_l dz[l, b] weight[l] of some labels to sums (S, B, D), without atomic additions."""
    (n, n_texts), (parts, _, dim) = dz.shape, sums.shape
    width, step = texts_of_tile(n_texts), depth(dz)
    with torch.cuda.device_of(dz):
        _add_to_embedding[(triton.cdiv(n_texts, width), triton.cdiv(dim, step), parts)](
            dz,
            table.codes,
            table.exponents,
            sums,
            n,
            n_texts,
            dim,
            triton.cdiv(triton.cdiv(n, parts), HEIGHT) * HEIGHT,
            BITS=table.bits,
            HEIGHT=HEIGHT,
            WIDTH=width,
            STEP=step,
            **products(dz),
            num_warps=8,
        )


@triton.jit(do_not_specialize=["n", "share"])
def _add_to_embedding(
    dz,
    weight,
    exponents,
    sums,
    n,
    n_texts,
    dim,
    share,
    BITS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    b = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    d = tl.program_id(1) * STEP + tl.arange(0, STEP)
    part = tl.program_id(2)
    text, column = (b < n_texts)[:, None], (d < dim)[None, :]
    total = tl.zeros([WIDTH, STEP], tl.float32)
    for start in range(part * share, tl.minimum((part + 1) * share, n), HEIGHT):
        row = (start + tl.arange(0, HEIGHT)).to(tl.int64)
        live = row < n
        g = tl.load(dz + row[None, :] * n_texts + b[:, None], mask=live[None, :] & text, other=0.0)
        w = numbers(tl.load(weight + row[:, None] * dim + d[None, :], mask=live[:, None] & column, other=0), BITS)
        if BITS == 8:
            w = w * scales(exponents, row, live, BITS)[:, None]
        w = w.to(dz.dtype.element_ty)
        if WIDE:
            g, w = g.to(tl.float32), w.to(tl.float32)
        total = tl.dot(g, w, total, input_precision=PRECISION)
    to = sums + (part.to(tl.int64) * n_texts + b[:, None]) * dim + d[None, :]
    tl.store(to, tl.load(to, mask=text & column, other=0.0) + total, mask=text & column)
