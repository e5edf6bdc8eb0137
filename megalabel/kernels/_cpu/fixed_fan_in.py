"""Numba bodies of `kernels/fixed_fan_in.py`: a label's inputs are read, used and written while they are in the caches.

They take checked tensors only: an input out of range here would read foreign memory. Texts lie side by side in
blocks of 64, the last in one of 16 if that is enough, so that an input of a block is one row of it. Each of torch's
threads owns a range of labels and a sum of the embedding's gradient; a chunk of its labels goes through all blocks
before its weights move. A group's inputs are gathered once per block, and four of its labels share what is loaded.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels import fan_in_plain
from megalabel.kernels._cpu.fan_in_pass import NARROW, WIDE, backward, score_labels
from megalabel.kernels._cpu.fan_in_rules import give, spend_by
from megalabel.kernels._cpu.label_threads import chunk_ranges, run_ranges, thread_count
from megalabel.kernels.adam_rule import Rule
from megalabel.kernels.fan_in_layer import FanIn
from megalabel.kernels.fan_in_plain import Gradients, Wants
from megalabel.kernels.label_loss import LOSSES

_CHUNK = 1 << 12  # connections a chunk: weights and gradients in the first-level cache
_CHUNK_OF_BLOCKS = 1 << 14  # and in the second-level cache, where several blocks of texts go over them


def scores(xt: Tensor, layer: FanIn, start: int, stop: int) -> Tensor:
    """Logits (n, B) of labels start … stop − 1."""
    z = xt.new_empty(stop - start, xt.shape[1])
    if z.numel():
        x, arrays, out = _Blocks.of(xt), _arrays(layer), z.view(-1).numpy()
        ranges = chunk_ranges(stop - start, 1, thread_count(xt.device))
        run_ranges(lambda r: score_labels(start + r.start, start + r.stop, start, *x, *arrays, out), ranges)
    return z


value = partial(fan_in_plain.value, scores=scores)
growth = partial(fan_in_plain.growth, scores=scores)


def gradients(
    xt: Tensor,
    layer: FanIn,
    loss: str,
    places: Tensor,
    *,
    rule: Rule | None,
    of_x: float,
    of_w: float,
    wants: Wants,
) -> Gradients:
    """The loss's gradients by embedding, times of_x, and by weight and bias, times of_w; a rule spends the latter."""
    return _backward(xt, layer, LOSSES.index(loss), places, xt.new_empty(0), rule, of_x, of_w, wants)


def spread(xt: Tensor, layer: FanIn, dz: Tensor, wants: Wants) -> Gradients:
    """The gradients by embedding, weight and bias that follow from those by the logits, dz (L, B)."""
    return _backward(xt, layer, -1, xt.new_empty(0, dtype=torch.int64), dz, None, 1.0, 1.0, wants)


class _Blocks(NamedTuple):
    """x (D, B) in blocks of texts: flat, with how many wide blocks there are, whether a narrow one follows, and B."""

    x: np.ndarray
    wide: int
    narrow: int
    n_texts: int

    @classmethod
    def of(cls, xt: Tensor) -> _Blocks:
        dim, n = xt.shape
        if n % WIDE == 0:
            wide, narrow = n // WIDE, 0
        else:
            narrow = int(n % WIDE <= NARROW)
            wide = n // WIDE + 1 - narrow
        if n == WIDE:
            return cls(xt.view(-1).numpy(), wide, narrow, n)
        flat = xt.new_zeros(dim * (WIDE * wide + NARROW * narrow))
        for start, block in _views(flat, dim, wide, narrow):
            texts = xt[:, start : start + block.shape[1]]
            block[:, : texts.shape[1]] = texts
        return cls(flat.numpy(), wide, narrow, n)

    def joined(self, flat: Tensor, dim: int) -> Tensor:
        """(D, B) of a flat tensor in these blocks."""
        blocks = [block for _, block in _views(flat, dim, self.wide, self.narrow)]
        return torch.cat([flat.new_empty(dim, 0), *blocks], dim=1)[:, : self.n_texts]


def _views(flat: Tensor, dim: int, wide: int, narrow: int) -> list[tuple[int, Tensor]]:
    """First text and (D, texts) of each block of a flat tensor."""
    cut = dim * WIDE * wide
    parts = [*flat[:cut].view(wide, dim, WIDE), *flat[cut:].view(narrow, dim, NARROW)]
    return [(WIDE * i, block) for i, block in enumerate(parts)]


def _arrays(layer: FanIn) -> tuple[np.ndarray, np.ndarray, np.ndarray, int]:
    bias = layer.weight.new_empty(0) if layer.bias is None else layer.bias
    return layer.weight.view(-1).numpy(), bias.numpy(), layer.inputs.numpy(), layer.group


def _backward(
    xt: Tensor,
    layer: FanIn,
    loss: int,
    places: Tensor,
    dz: Tensor,
    rule: Rule | None,
    of_x: float,
    of_w: float,
    wants: Wants,
) -> Gradients:
    weight, bias = layer.weight, layer.bias
    out = Gradients(
        weight=torch.zeros_like(weight) if wants[1] and rule is None else None,
        bias=torch.zeros_like(bias) if bias is not None and wants[2] and rule is None else None,
    )
    spending = give(out.weight, out.bias, of_w) if rule is None else spend_by(rule, of_w)
    x, arrays = _Blocks.of(xt), _arrays(layer)
    positives, slopes = places.numpy(), dz.reshape(-1).numpy()
    connections = _CHUNK if x.wide + x.narrow <= 1 else _CHUNK_OF_BLOCKS
    chunk = max(16, connections // weight.shape[1])

    def of_range(labels: range) -> Tensor:
        dx = torch.zeros(len(x.x) if wants[0] else 0)
        backward(
            labels.start, labels.stop, chunk, *x, dx.numpy(), *arrays, loss, positives, slopes, *spending
        )
        return dx

    first, *others = run_ranges(of_range, chunk_ranges(layer.n_labels, 1, thread_count(xt.device)))
    for other in others:
        first += other
    if wants[0]:
        out.embedding = x.joined(first, xt.shape[0]).mul_(of_x)
    return out
