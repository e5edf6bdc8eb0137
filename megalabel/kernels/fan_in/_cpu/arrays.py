"""Arguments of the compiled code of `_cpu/fixed_fan_in.py`: named tuples of arrays, used as pointers inside.

The arrays must outlive the pass, since a pointer holds no reference to its array.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.core._cpu.pointers import by_type, inlined, pointer
from megalabel.kernels.fan_in.layer import FanIn
from megalabel.kernels.rounding._cpu.stored import BFloat16, Float32, Stored, stored, stored_at
from megalabel.kernels.rounding.stochastic_rounding import Draw
from megalabel.kernels.updates.narrow_adagrad_rule import NarrowAdagradRule
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.kernels.updates.rule import ONLY_PART, StepContext, UpdateRule

WIDE, NARROW = 64, 16  # texts in a block


class Texts(NamedTuple):
    """x (D, B), stored as consecutive blocks of texts in a flat array, and its gradient in the same layout."""

    x: Any
    dx: Any  # empty if it is not requested
    dim: int
    wide: int  # the number of blocks of WIDE texts
    narrow: int  # the number of blocks of NARROW texts, 0 or 1
    n_texts: int


class Layer(NamedTuple):
    """The layer: weight (L · F,), bias (L,), inputs (M · F,), F = fan_in and G = group.

    Of narrow weights, `weight` is empty, and `Kept` holds their codes.
    """

    weight: Any
    bias: Any
    inputs: Any
    fan_in: int
    group: int


class Rests(NamedTuple):
    """What rounding cut off the weights of some labels, and these labels (C,) int64, ascending."""

    cut: BFloat16  # (C, F)
    labels: Any
    n: int


class Kept(NamedTuple):
    """How the weights and the momentum of a layer are stored, with the random numbers of their rounding.

    rests: `Rests` where rows are compensated.
    """

    weight: Stored = Float32()
    buffer: Stored = Float32()
    rests: Rests | Float32 = Float32()


class Targets(NamedTuple):
    """The loss by its number and the places of the positives; or loss = −1 and the slopes ∂loss/∂z (L · B,).

    weighted: whether the losses of the texts have the factors `text_weights`, with zeros up to a whole number of
        blocks.
    """

    loss: int
    places: Any
    n_places: int
    slopes: Any
    weighted: bool = False
    text_weights: Any = np.empty(0, np.float32)


class Scratch(NamedTuple):
    """Scratch memory for a chunk, a label and a group."""

    g: Any  # (chunk · F,) float32, the gradients of the weights
    of_bias: Any  # (chunk,) float32, the gradients of the biases
    touched: Any  # (chunk,) bool, the labels with a gradient
    cuts: Any  # (chunk + 1,) intp, where the positives of each label begin
    rows: Any  # (F,) intp, where each input of a label begins in a block
    buffer: Any  # (WIDE,) float32
    sums: Any  # (4 · F,) float32
    near: Any  # (F · WIDE,) float32, the gathered inputs of a group
    dnear: Any  # (F · WIDE,) float32, the gradient with respect to them
    values: Any  # (chunk · F,) float32, the weights of a chunk where they are narrow
    buffers: Any  # (chunk · F,) float32, the momentum of a chunk where it is narrow


def texts_of(xt: Tensor) -> Texts:
    """xt (D, B) in blocks; not copied if it is exactly one wide block."""
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
    """The first text and a view (D, texts) of each block of a flat tensor."""
    cut = texts.dim * WIDE * texts.wide
    parts = [*flat[:cut].view(texts.wide, texts.dim, WIDE), *flat[cut:].view(texts.narrow, texts.dim, NARROW)]
    return [(WIDE * i, block) for i, block in enumerate(parts)]


def in_blocks(text_weights: Tensor | None) -> np.ndarray:
    """The weights of the texts, followed by zeros for the rest of the last block; empty for None."""
    if text_weights is None:
        return np.empty(0, np.float32)
    padded = torch.zeros(-(-len(text_weights) // WIDE) * WIDE)
    padded[: len(text_weights)] = text_weights
    return padded.numpy()


def layer_of(layer: FanIn) -> Layer:
    """A layer as an argument of compiled code; a missing bias is replaced by zeros."""
    n_labels, fan_in = layer.weight.shape
    bias = torch.zeros(n_labels) if layer.bias is None else layer.bias
    weight = np.empty(0, np.float32) if layer.table is not None else layer.weight.view(-1).numpy()
    return Layer(weight, bias.numpy(), layer.inputs.view(-1).numpy(), fan_in, layer.group)


def kept_of(layer: FanIn, rule: UpdateRule | None = None, step: StepContext = ONLY_PART) -> Kept:
    """How a layer, and the momentum of the rule that moves its weights, are stored."""
    weight: Stored = Float32()
    if layer.table is not None:
        draw = rule.weight_draw if isinstance(rule, NarrowSGDRule | NarrowAdagradRule) else Draw(0, 0)
        weight = stored(layer.table.codes, layer.table.exponents, draw)
    if isinstance(rule, NarrowSGDRule) and rule.buffered(step) and rule.momentum_dtype == torch.bfloat16:
        assert rule.buffer is not None
        return Kept(weight, stored(rule.buffer, None, rule.momentum_draw), _rests(layer, rule))
    return Kept(weight, rests=_rests(layer, rule))


def _rests(layer: FanIn, rule: UpdateRule | None) -> Rests | Float32:
    """What a rule keeps of compensated rows; `Float32` if it keeps nothing."""
    if layer.table is None or not isinstance(rule, NarrowSGDRule) or rule.compensated is None:
        return Float32()
    assert rule.compensation is not None
    cut = stored(rule.compensation, None, rule.rest_draw)
    assert isinstance(cut, BFloat16)
    return Rests(cut, rule.compensated.cpu().numpy(), len(rule.compensated))


def scratch_for(layer: FanIn, chunk: int, kept: Kept) -> Scratch:
    """Allocates scratch memory, with torch: it aligns to cache lines, and unaligned rows take twice as long."""
    fan_in, near = layer.weight.shape[1], layer.weight.shape[1] * WIDE if layer.group > 1 else 0
    narrow = [chunk * fan_in * (not isinstance(of, Float32)) for of in (kept.weight, kept.buffer)]
    sizes = chunk * fan_in, chunk, WIDE, 4 * fan_in, near, near, *narrow
    numbers = [torch.empty(n).numpy() for n in sizes]
    touched, cuts = np.empty(chunk, np.bool_), np.empty(chunk + 1, np.intp)
    return Scratch(numbers[0], numbers[1], touched, cuts, np.empty(fan_in, np.intp), *numbers[2:])


@inlined
def texts_at(t):
    """`Texts` with pointers in place of arrays."""
    return Texts(pointer(t.x), pointer(t.dx), t.dim, t.wide, t.narrow, t.n_texts)


@inlined
def layer_at(t):
    """`Layer` with pointers in place of arrays."""
    return Layer(pointer(t.weight), pointer(t.bias), pointer(t.inputs), t.fan_in, t.group)


@inlined
def kept_at(t):
    """`Kept` with pointers in place of arrays."""
    return Kept(stored_at(t.weight), stored_at(t.buffer), stored_at(t.rests))


by_type(stored_at, {Rests: lambda s: Rests(stored_at(s.cut), pointer(s.labels), s.n)})


@inlined
def scratch_at(t):
    """`Scratch` with pointers in place of arrays."""
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
        pointer(t.values),
        pointer(t.buffers),
    )


@inlined
def targets_at(t):
    """`Targets` with pointers in place of arrays."""
    return Targets(t.loss, pointer(t.places), t.n_places, pointer(t.slopes), t.weighted, pointer(t.text_weights))
