"""Triton kernel of `label_pass.py` for SGD: gradient of the weights, decay, momentum and rounding in one.

A program computes the gradient of a tile of labels, strip by strip, applies the rule and stores weights and
momentum, so that no gradient of the weights is ever in memory. As the scale of a row of float8 depends on all its
new numbers, float8 takes two sweeps: the first finds the largest number of each row, the second computes the same
numbers again and rounds them. The random bits are those of the plain version.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from megalabel.kernels.all_labels._triton.tiles import STEP_HEIGHT, Table, scales, step_tiles, weight_gradient
from megalabel.kernels.core._triton.streams import row_bits, row_key
from megalabel.kernels.core.random import number_offset, stream_start
from megalabel.kernels.rounding._triton.codes import bfloat16, float8, numbers, row_exponent
from megalabel.kernels.rounding.stochastic_rounding import integers
from megalabel.kernels.updates._triton.sgd import gathered, momentum
from megalabel.kernels.updates._triton.sgd import sgd as sgd_of
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.kernels.updates.rule import StepContext
from megalabel.kernels.updates.sgd_rule import SGDRule

_HALVES = ["weight_low", "weight_high", "buffer_low", "buffer_high", "number_low", "number_high"]


def sgd_step(
    rule: SGDRule, dz: Tensor, x: Tensor, part: Table, start: int, step: StepContext, times: float
) -> None:
    """Updates the weights `part` of the labels start, start + 1, … and their buffer; the gradient is times · dz x.

    dz: (n, B), of the type of x. x: (B, D) contiguous. rule: `SGDRule` or `NarrowSGDRule`, prepared.
    """
    n, (n_texts, dim) = len(dz), x.shape
    buffer, kind = None, 0
    if rule.buffered(step):
        assert rule.buffer is not None
        kind = 8 * rule.buffer.element_size()
        buffer = rule.buffer[start : start + n]
        buffer = integers(buffer) if kind == 16 else buffer
    keep = 1 - rule.lr * rule.weight_decay
    with torch.cuda.device_of(x):  # Triton launches on the current device, not on that of the tensors
        _sgd[(triton.cdiv(n, STEP_HEIGHT),)](
            x,
            dz,
            part.codes,
            part.exponents,
            buffer,
            start + rule.first_row if isinstance(rule, NarrowSGDRule) else start,
            n,
            n_texts,
            dim,
            *map(float, (times, rule.kept_fraction(step), rule.lr, keep, rule.weight_decay)),
            *_halves_of_draws(rule),
            BITS=part.bits,
            BUFFER=kind,
            LAST=step.last,
            **step_tiles(x),
        )


def _halves_of_draws(rule: SGDRule) -> list[int]:
    """The arguments _HALVES: streams of weights and buffer, and the number of the rounding, as int32 halves."""
    if not isinstance(rule, NarrowSGDRule):
        return [0] * len(_HALVES)
    draws = rule.weight_draw, rule.momentum_draw
    wholes = [stream_start(draw.seed) for draw in draws] + [number_offset(draws[0].number)]
    halves = [half for whole in wholes for half in (whole & 0xFFFFFFFF, whole >> 32)]
    return [half - (1 << 32) if half >> 31 else half for half in halves]


@triton.jit
def _moved(g, w, buffer, at, inside, kept, lr, keep, decay, BUFFER: tl.constexpr, LAST: tl.constexpr):
    """Weights and buffer after a micro-batch with gradients g, as `SGDRule`; without a buffer its tile is g."""
    m = g
    if BUFFER > 0:
        m = gathered(numbers(tl.load(buffer + at, mask=inside, other=0), BUFFER), g, kept)
        if LAST:
            w, m = momentum(w, m, lr, decay)
    else:
        w = sgd_of(w, g, lr, keep)
    return w, m


@triton.jit(do_not_specialize=[*_HALVES, "first", "n"])
def _sgd(  # long: a Triton kernel takes its arguments separately
    x,
    dz,
    weight,
    exponents,
    buffer,
    first,
    n,
    n_texts,
    dim,
    times,
    kept,
    lr,
    keep,
    decay,
    weight_low,
    weight_high,
    buffer_low,
    buffer_high,
    number_low,
    number_high,
    BITS: tl.constexpr,
    BUFFER: tl.constexpr,
    LAST: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    TEXTS: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * HEIGHT + tl.arange(0, HEIGHT)
    live = row < n
    scale = scales(exponents, row, live, BITS)
    most = tl.zeros([HEIGHT], tl.int32)
    if BITS == 8 and LAST:
        for start in range(0, dim, WIDTH):
            d = start + tl.arange(0, WIDTH)
            at = row[:, None] * dim + d[None, :]
            inside = live[:, None] & (d < dim)[None, :]
            g = times * weight_gradient(x, dz, row, live, d, n_texts, dim, HEIGHT, WIDTH, TEXTS, WIDE, PRECISION)
            w = numbers(tl.load(weight + at, mask=inside, other=0), BITS) * scale[:, None]
            w, m = _moved(g, w, buffer, at, inside, kept, lr, keep, decay, BUFFER, LAST)
            size = tl.where(inside, w.to(tl.int32, bitcast=True) & 0x7FFFFFFF, 0)
            most = tl.maximum(most, tl.max(size, 1))
    exponent = row_exponent(most)
    for start in range(0, dim, WIDTH):
        d = start + tl.arange(0, WIDTH)
        at = row[:, None] * dim + d[None, :]
        inside = live[:, None] & (d < dim)[None, :]
        g = times * weight_gradient(x, dz, row, live, d, n_texts, dim, HEIGHT, WIDTH, TEXTS, WIDE, PRECISION)
        w = numbers(tl.load(weight + at, mask=inside, other=0), BITS) * scale[:, None]
        w, m = _moved(g, w, buffer, at, inside, kept, lr, keep, decay, BUFFER, LAST)
        if BUFFER == 16:
            key = row_key(first + row, buffer_low, buffer_high, number_low, number_high)
            tl.store(buffer + at, bfloat16(m, row_bits(key[:, None], d[None, :])), mask=inside)
        elif BUFFER == 32:
            tl.store(buffer + at, m, mask=inside)
        if LAST:
            if BITS == 32:
                tl.store(weight + at, w, mask=inside)
            else:
                key = row_key(first + row, weight_low, weight_high, number_low, number_high)
                random = row_bits(key[:, None], d[None, :])
                if BITS == 16:
                    code = bfloat16(w, random)
                else:
                    code = float8(w, exponent[:, None], random)
                    code = tl.where((most >= 0x7F800000)[:, None], 0x7F, code).to(tl.uint8)  # NaN
                tl.store(weight + at, code, mask=inside)
    if BITS == 8 and LAST:
        tl.store(exponents + row, exponent.to(tl.int8), mask=live)
