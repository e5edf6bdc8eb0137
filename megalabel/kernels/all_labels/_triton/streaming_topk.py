"""Triton implementation of `streaming_topk.py`: each program keeps the k best labels of its texts in registers.

A program scores a range of labels for a tile of texts, tile by tile. Score and label are packed into one integer
whose order is that of the ranking, as in `topk_bodies.pack`. A tile in which no score reaches the k-th best so far
ends with one comparison; otherwise its best keys replace the worst kept ones, one per text at a time, until none
is better. The lists of all ranges, (B, S, k) keys, are merged by torch's top-k. Scores (B, L) are never written.

Only checked tensors on one device may be passed: CUDA, or the CPU with TRITON_INTERPRET=1.
"""

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
from megalabel.kernels.all_labels.topk_bodies import unpack
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.types import TopK

MOST = 128  # labels per text that a program can keep
_HEIGHT = 64  # labels of a tile
_PROGRAMS = 528  # the intended number: four for each multiprocessor of an H100, the same on every GPU
_NONE = tl.constexpr(-(1 << 63))  # the lowest key
_LOWEST = tl.constexpr(-(1 << 63) + (1 << 32))  # keys below it stand for no label


def topk(
    x: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    k: int,
    excluded: Tensor | None,
    row_to_label: Tensor | None,
) -> TopK:
    """The k best labels of each text, k ≤ MOST and ≤ L; label -1 and score -inf where there are fewer.

    x: (B, D) float32, contiguous. excluded: (P,) int64, row of the table · B + text, sorted. row_to_label: (L,)
    int64.
    """
    table, (n_texts, dim) = Table.of(weight), x.shape
    n = len(table.codes)
    most = triton.next_power_of_2(k)
    width = texts_of_tile(n_texts, 64 if most <= 32 else 16)
    text_tiles, tiles = triton.cdiv(n_texts, width), triton.cdiv(n, _HEIGHT)
    share = triton.cdiv(tiles, max(1, _PROGRAMS // text_tiles))
    parts = triton.cdiv(tiles, share)
    keys = torch.empty(n_texts, parts, most, dtype=torch.int64, device=x.device)
    cuts = None if excluded is None else cuts_of(excluded, n, _HEIGHT, n_texts)
    with torch.cuda.device_of(x):  # Triton launches on the current device, not on that of the tensors
        _best[(text_tiles, parts)](
            x,
            table.codes,
            table.exponents,
            bias,
            row_to_label,
            excluded,
            cuts,
            keys,
            n,
            n_texts,
            dim,
            share,
            HAS_BIAS=bias is not None,
            PERMUTED=row_to_label is not None,
            EXCLUDES=excluded is not None,
            BITS=table.bits,
            MOST=most,
            HEIGHT=_HEIGHT,
            WIDTH=width,
            STEP=depth(x),
            **products(x),
            num_warps=8,
        )
    best = keys.view(n_texts, parts * most).topk(k, dim=1).values
    scores, labels = unpack(best)
    nothing = best < _LOWEST.value
    return TopK(labels.masked_fill(nothing, -1), scores.masked_fill(nothing, -torch.inf))


@triton.jit
def _keys(z, label):
    """`topk_bodies.pack`: int64, greater score first, then lower label; _NONE where the score is NaN or -inf."""
    bits = (z + 0.0).to(tl.int32, bitcast=True)  # adding 0 makes −0 equal 0
    ordered = tl.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(tl.int64)
    return tl.where(z > float("-inf"), (ordered << 32) | (0xFFFFFFFF - label), _NONE)


@triton.jit
def _scores(keys):
    """The scores of keys; -inf for no label."""
    ordered = (keys >> 32).to(tl.int32)
    bits = tl.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered)
    return tl.where(keys < _LOWEST, float("-inf"), bits.to(tl.float32, bitcast=True))


@triton.jit(do_not_specialize=["n", "share"])
def _best(  # long: a Triton kernel takes its arguments separately
    x,
    weight,
    exponents,
    bias,
    row_to_label,
    excluded,
    cuts,
    out,
    n,
    n_texts,
    dim,
    share,
    HAS_BIAS: tl.constexpr,
    PERMUTED: tl.constexpr,
    EXCLUDES: tl.constexpr,
    BITS: tl.constexpr,
    MOST: tl.constexpr,
    HEIGHT: tl.constexpr,
    WIDTH: tl.constexpr,
    STEP: tl.constexpr,
    WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):
    b = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    part = tl.program_id(1)
    kept = tl.arange(0, MOST)
    # Distinct from the start, so that one key is the lowest.
    best = (kept.to(tl.int64) + _NONE)[:, None] + tl.zeros([MOST, WIDTH], tl.int64)
    least = tl.full([WIDTH], float("-inf"), tl.float32)
    tile = part * share
    end = tl.minimum(tile + share, tl.cdiv(n, HEIGHT))
    while tile < end:
        row = tile.to(tl.int64) * HEIGHT + tl.arange(0, HEIGHT)
        live = row < n
        scale = scales(exponents, row, live, BITS)
        z = logits(x, weight, scale, row, live, b, n_texts, dim, HEIGHT, WIDTH, STEP, BITS, WIDE, PRECISION)
        if HAS_BIAS:
            z += tl.load(bias + row, mask=live, other=0.0)[:, None]
        z = tl.where(live[:, None] & (b < n_texts)[None, :], z, float("-inf"))
        if EXCLUDES:
            z = tl.where(marked(excluded, cuts, tile, b, n_texts, HEIGHT, WIDTH) > 0, float("-inf"), z)
        if tl.max(tl.max((z >= least[None, :]).to(tl.int32), 0), 0) > 0:
            label = row
            if PERMUTED:
                label = tl.load(row_to_label + row, mask=live, other=0)
            keys = _keys(z, label[:, None])
            top, low = tl.max(keys, 0), tl.min(best, 0)
            while tl.max((top > low).to(tl.int32), 0) > 0:
                take = (best == low[None, :]) & (top > low)[None, :]
                best = tl.where(take, top[None, :], best)
                keys = tl.where(keys == top[None, :], _NONE, keys)
                top, low = tl.max(keys, 0), tl.min(best, 0)
            least = _scores(low)
        tile += 1
    to = out + (b[None, :].to(tl.int64) * tl.num_programs(1) + part) * MOST + kept[:, None]
    tl.store(to, best, mask=(b < n_texts)[None, :])
