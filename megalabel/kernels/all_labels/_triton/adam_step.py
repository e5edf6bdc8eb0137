"""Triton kernel of `label_pass.py` for AdamW: gradient of the weights, decay and update rule in one.

A program computes the gradient of a tile of weights and applies the rule, so that no gradient of the weights is
ever in memory.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from megalabel.kernels.all_labels._triton.tiles import (
    STEP_HEIGHT,
    STEP_WIDTH,
    Table,
    step_tiles,
    weight_gradient,
)
from megalabel.kernels.updates._triton.adam import adam as adam_of
from megalabel.kernels.updates.adam_rule import AdamRule


def adam_step(rule: AdamRule, dz: Tensor, x: Tensor, part: Table, start: int, times: float) -> None:
    """Updates the float32 weights `part` of the labels start, start + 1, … with the gradient times · dz x.

    dz: (n, B), of the type of x. x: (B, D) contiguous. rule: prepared for a step of one micro-batch.
    """
    assert rule.mean is not None
    assert rule.square is not None
    n, (n_texts, dim) = len(dz), x.shape
    settings = rule.settings
    beta1, beta2 = settings.betas
    corrections = [1 / (1 - beta**rule.steps) for beta in settings.betas]
    numbers = (times, settings.lr, 1 - beta1, beta2, 1 - beta2, *corrections, settings.eps, settings.keep)
    with torch.cuda.device_of(x):  # Triton launches on the current device, not on that of the tensors
        _adam[(triton.cdiv(n, STEP_HEIGHT), triton.cdiv(dim, STEP_WIDTH))](
            x,
            dz,
            part.codes,
            rule.mean[start : start + n],
            rule.square[start : start + n],
            n,
            n_texts,
            dim,
            *map(float, numbers),
            **step_tiles(x),
        )


@triton.jit(do_not_specialize=["n"])
def _adam(  # long: a Triton kernel takes its arguments separately
    x,
    dz,
    weight,
    mean,
    square,
    n,
    n_texts,
    dim,
    times,
    lr,
    new_of_mean,
    old_of_square,
    new_of_square,
    of_mean,
    of_square,
    eps,
    keep,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    TEXTS: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * HEIGHT + tl.arange(0, HEIGHT)
    d = tl.program_id(1) * WIDTH + tl.arange(0, WIDTH)
    live = row < n
    at = row[:, None] * dim + d[None, :]
    inside = live[:, None] & (d < dim)[None, :]
    g = times * weight_gradient(x, dz, row, live, d, n_texts, dim, HEIGHT, WIDTH, TEXTS, WIDE, PRECISION)
    w = tl.load(weight + at, mask=inside, other=0.0)
    m = tl.load(mean + at, mask=inside, other=0.0)
    v = tl.load(square + at, mask=inside, other=0.0)
    w, m, v = adam_of(w, m, v, g, new_of_mean, old_of_square, new_of_square, of_mean, of_square, lr, eps, keep)
    tl.store(mean + at, m, mask=inside)
    tl.store(square + at, v, mask=inside)
    tl.store(weight + at, w, mask=inside)
