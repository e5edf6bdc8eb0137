"""What compiled code of `_cpu/fixed_fan_in.py` takes: named tuples of arrays, turned into pointers at its door.

The arrays must outlive the pass: pointers keep nothing alive.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.core._cpu.pointers import inlined, pointer
from megalabel.kernels.fan_in.layer import FanIn

WIDE, NARROW = 64, 16  # texts in a block


class Texts(NamedTuple):
    """x (D, B) as blocks of texts one after the other, flat; the gradient by it likewise; how many there are."""

    x: Any
    dx: Any  # empty if it is not wanted
    dim: int
    wide: int
    narrow: int  # 0 or 1
    n_texts: int


class Layer(NamedTuple):
    """The layer: weight (L · F,), bias (L,), inputs (M · F,), F and G."""

    weight: Any
    bias: Any
    inputs: Any
    fan_in: int
    group: int


class Targets(NamedTuple):
    """The loss's number and the positives' places, or slopes (L · B,) for a loss of −1."""

    loss: int
    places: Any
    n_places: int
    slopes: Any


class Scratch(NamedTuple):
    """Memory to work in: of a chunk, of a label and of a group."""

    g: Any  # (chunk · F,) float32, the weights' gradients
    of_bias: Any  # (chunk,) float32, the biases'
    touched: Any  # (chunk,) bool, who has any
    cuts: Any  # (chunk + 1,) intp, where each label's positives begin
    rows: Any  # (F,) intp, where each input of a label begins in a block
    buffer: Any  # (WIDE,) float32
    sums: Any  # (4 · F,) float32
    near: Any  # (F · WIDE,) float32, a group's inputs
    dnear: Any  # (F · WIDE,) float32, the gradient by them


def texts_of(xt: Tensor) -> Texts:
    """xt (D, B) in blocks; where that is one whole block, it is not copied."""
    dim, n = xt.shape
    narrow = int(0 < n % WIDE <= NARROW)
    wide = -(-n // WIDE) - narrow
    none = np.empty(0, np.float32)
    if n == WIDE:
        return Texts(xt.view(-1).numpy(), none, dim, wide, narrow, n)
    flat = xt.new_zeros(dim * (WIDE * wide + NARROW * narrow))
    texts = Texts(flat.numpy(), none, dim, wide, narrow, n)
    for start, block in views(flat, texts):
        here = xt[:, start : start + block.shape[1]]
        block[:, : here.shape[1]] = here
    return texts


def views(flat: Tensor, texts: Texts) -> list[tuple[int, Tensor]]:
    """First text and (D, texts) of each block of a flat tensor."""
    cut = texts.dim * WIDE * texts.wide
    parts = [*flat[:cut].view(texts.wide, texts.dim, WIDE), *flat[cut:].view(texts.narrow, texts.dim, NARROW)]
    return [(WIDE * i, block) for i, block in enumerate(parts)]


def layer_of(layer: FanIn) -> Layer:
    """A layer as compiled code takes it; one without bias has zeros."""
    n_labels, fan_in = layer.weight.shape
    bias = layer.weight.new_zeros(n_labels) if layer.bias is None else layer.bias
    return Layer(layer.weight.view(-1).numpy(), bias.numpy(), layer.inputs.view(-1).numpy(), fan_in, layer.group)


def scratch_for(layer: FanIn, chunk: int) -> Scratch:
    """Of torch, whose memory begins at a cache line: a row that straddles two costs twice."""
    fan_in, near = layer.weight.shape[1], layer.weight.shape[1] * WIDE if layer.group > 1 else 0
    numbers = [torch.empty(n).numpy() for n in (chunk * fan_in, chunk, WIDE, 4 * fan_in, near, near)]
    touched, cuts = np.empty(chunk, np.bool_), np.empty(chunk + 1, np.intp)
    return Scratch(numbers[0], numbers[1], touched, cuts, np.empty(fan_in, np.intp), *numbers[2:])


@inlined
def texts_at(t):
    """The same with pointers."""
    return Texts(pointer(t.x), pointer(t.dx), t.dim, t.wide, t.narrow, t.n_texts)


@inlined
def layer_at(t):
    """The same with pointers."""
    return Layer(pointer(t.weight), pointer(t.bias), pointer(t.inputs), t.fan_in, t.group)


@inlined
def scratch_at(t):
    """The same with pointers."""
    return Scratch(
        pointer(t.g),
        pointer(t.of_bias),
        pointer(t.touched),
        pointer(t.cuts),
        pointer(t.rows),
        pointer(t.buffer),
        pointer(t.sums),
        pointer(t.near),
        pointer(t.dnear),
    )


@inlined
def targets_at(t):
    """The same with pointers."""
    return Targets(t.loss, pointer(t.places), t.n_places, pointer(t.slopes))
