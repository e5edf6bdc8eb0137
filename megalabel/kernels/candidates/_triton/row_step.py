"""Triton implementation of `candidates/row_step.py`: sums the gradient of a row in registers and applies it.

A program processes a tile of neighboring rows of one group and a strip of their columns. It sums the contributions
of the group's members in order and without atomic additions, and reads and writes weights and moments once. As
programs of other strips read the same step counts, Adam's step counts are updated by a separate launch afterwards.

Only checked tensors on one device may be passed: CUDA, or the CPU with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from megalabel.kernels.candidates._triton.row_tiles import TILE_HEIGHT, copy_back, tiles_of
from megalabel.kernels.candidates.row_groups import RowGroups
from megalabel.kernels.updates._triton.adam import adam as adam_of
from megalabel.kernels.updates._triton.sgd import sgd as sgd_of
from megalabel.kernels.updates.adam import AdamSettings

_TOGETHER = 4  # members whose views are loaded at once


def adam(
    weight: Tensor, bias: Tensor | None, state: dict[str, Tensor], groups: RowGroups, settings: AdamSettings
) -> None:
    """One step of lazy AdamW, in place."""
    inputs, tiles, strips, width = tiles_of(weight, groups)
    of_bias = [] if bias is None else [bias, state["bias_mean"], state["bias_square"]]
    dense: list[Tensor | None] = [x.contiguous() for x in of_bias] or [None] * 3
    by_mean, by_square = weight.new_empty(2, tiles, TILE_HEIGHT)
    # 1 − β^t is computed from log β, taken here in double precision: β itself would be rounded to float32.
    beta1, beta2 = settings.betas
    logs = [math.log(beta) if beta > 0 else -math.inf for beta in settings.betas]
    with torch.cuda.device_of(weight):  # Triton launches on the current device, not on that of the tensors
        _count[(tiles,)](inputs[0], state["steps"], by_mean, by_square, *logs, HEIGHT=TILE_HEIGHT, num_warps=1)
        _adam[(tiles, strips)](
            *inputs,
            weight,
            state["mean"],
            state["square"],
            *dense,
            by_mean,
            by_square,
            *map(float, (settings.lr, 1 - beta1, beta2, 1 - beta2, settings.eps, settings.keep)),
            weight.shape[1],
            HAS_BIAS=bias is not None,
            HEIGHT=TILE_HEIGHT,
            WIDTH=width,
            TOGETHER=_TOGETHER,
            num_warps=max(1, width // 128),
        )
    copy_back(of_bias, dense)


def sgd(weight: Tensor, bias: Tensor | None, groups: RowGroups, lr: float, weight_decay: float) -> None:
    """One step of SGD without momentum, in place."""
    inputs, tiles, strips, width = tiles_of(weight, groups)
    of_bias = [] if bias is None else [bias]
    dense: list[Tensor | None] = [x.contiguous() for x in of_bias] or [None]
    with torch.cuda.device_of(weight):
        _sgd[(tiles, strips)](
            *inputs,
            weight,
            *dense,
            float(lr),
            float(1 - lr * weight_decay),
            weight.shape[1],
            HAS_BIAS=bias is not None,
            HEIGHT=TILE_HEIGHT,
            WIDTH=width,
            TOGETHER=_TOGETHER,
            num_warps=max(1, width // 128),
        )
    copy_back(of_bias, dense)


@triton.jit
def _rows(table, HEIGHT: tl.constexpr):
    """The rows (HEIGHT,) of this program's tile, and a mask of those that exist."""
    table += tl.program_id(0) * 5
    row = tl.load(table) + tl.arange(0, HEIGHT)
    return row, row < tl.load(table + 1)


@triton.jit
def _sums(
    table,
    views,
    cells,
    members,
    row,
    live,
    d,
    dim,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    N: tl.constexpr,
):
    """The gradients of a strip of weights (HEIGHT, WIDTH) and of the biases (HEIGHT,); N members at a time."""
    of_weight = tl.zeros([HEIGHT, WIDTH], tl.float32)
    of_bias = tl.zeros([HEIGHT], tl.float32)
    table += tl.program_id(0) * 5
    within = row - tl.load(table + 2)
    m, last = tl.load(table + 3), tl.load(table + 4)
    while m < last:
        for i in tl.static_range(N):
            there = m + i < last
            text = tl.load(members + 2 * (m + i), mask=there, other=0)
            cell = tl.load(members + 2 * (m + i) + 1, mask=there, other=0) + within
            g = tl.load(cells + cell, mask=live & there, other=0.0)
            x = tl.load(views + text * dim + d[None, :], mask=(d < dim)[None, :] & there, other=0.0)
            of_weight += g[:, None] * x
            of_bias += g
        m += N
    return of_weight, of_bias


@triton.jit
def _count(table, steps, by_mean, by_square, log_of_mean, log_of_square, HEIGHT: tl.constexpr):
    row, live = _rows(table, HEIGHT)
    count = tl.load(steps + row, mask=live, other=0) + 1
    tl.store(steps + row, count, mask=live)
    # For β near 1, 1 − β^t is small in the first steps: float32 would lose four digits to cancellation.
    t = count.to(tl.float64)
    at = tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT)
    tl.store(by_mean + at, (1 / (1 - tl.exp(t * log_of_mean))).to(tl.float32))
    tl.store(by_square + at, (1 / (1 - tl.exp(t * log_of_square))).to(tl.float32))


# All arguments are passed separately: not every supported version of Triton accepts tuples.
@triton.jit
def _adam(  # long: a Triton kernel takes its arguments separately
    table,
    views,
    cells,
    members,
    weight,
    mean,
    square,
    bias,
    bias_mean,
    bias_square,
    by_mean,
    by_square,
    lr,
    new_of_mean,
    old_of_square,
    new_of_square,
    eps,
    keep,
    dim,
    HAS_BIAS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    row, live = _rows(table, HEIGHT)
    d = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    at = row[:, None] * dim + d[None, :]
    inside = live[:, None] & (d < dim)[None, :]
    m = tl.load(mean + at, mask=inside, other=0.0)
    v = tl.load(square + at, mask=inside, other=0.0)
    w = tl.load(weight + at, mask=inside, other=0.0)
    g, of_bias = _sums(table, views, cells, members, row, live, d, dim, HEIGHT, WIDTH, TOGETHER)
    at_tile = tl.program_id(0) * HEIGHT + tl.arange(0, HEIGHT)
    c_mean, c_square = tl.load(by_mean + at_tile), tl.load(by_square + at_tile)
    w, m, v = adam_of(
        w,
        m,
        v,
        g,
        new_of_mean,
        old_of_square,
        new_of_square,
        c_mean[:, None],
        c_square[:, None],
        lr,
        eps,
        keep,
    )
    tl.store(mean + at, m, mask=inside)
    tl.store(square + at, v, mask=inside)
    tl.store(weight + at, w, mask=inside)

    if HAS_BIAS:
        live = live & (tl.program_id(1) == 0)
        m = tl.load(bias_mean + row, mask=live, other=0.0)
        v = tl.load(bias_square + row, mask=live, other=0.0)
        w = tl.load(bias + row, mask=live, other=0.0)
        w, m, v = adam_of(
            w, m, v, of_bias, new_of_mean, old_of_square, new_of_square, c_mean, c_square, lr, eps, 1.0
        )
        tl.store(bias_mean + row, m, mask=live)
        tl.store(bias_square + row, v, mask=live)
        tl.store(bias + row, w, mask=live)


@triton.jit
def _sgd(
    table,
    views,
    cells,
    members,
    weight,
    bias,
    lr,
    keep,
    dim,
    HAS_BIAS: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    TOGETHER: tl.constexpr,
):
    row, live = _rows(table, HEIGHT)
    d = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    at = row[:, None] * dim + d[None, :]
    inside = live[:, None] & (d < dim)[None, :]
    w = tl.load(weight + at, mask=inside, other=0.0)
    g, of_bias = _sums(table, views, cells, members, row, live, d, dim, HEIGHT, WIDTH, TOGETHER)
    tl.store(weight + at, sgd_of(w, g, lr, keep), mask=inside)
    if HAS_BIAS:
        live = live & (tl.program_id(1) == 0)
        b = tl.load(bias + row, mask=live, other=0.0)
        tl.store(bias + row, sgd_of(b, of_bias, lr, 1.0), mask=live)
