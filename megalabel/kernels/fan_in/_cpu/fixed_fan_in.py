"""Numba implementation of `fan_in/fixed_fan_in.py`, which computes on one block of texts at a time in the caches.

Only checked tensors may be passed: an input index out of range would read memory outside of x. Texts are stored in
blocks of 64, the last in a block of 16 if that suffices, so that an input of a block is one row of it. Each of
torch's threads has a range of labels and its own sum of the embedding's gradient; a chunk of its labels is
computed on all blocks before its weights are updated; narrow weights are read, and rounded, a chunk at a time. The
inputs of a group are gathered once per block, and four
of its labels are computed per load.
"""

from __future__ import annotations

from functools import partial

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.all_labels.label_loss import LOSSES
from megalabel.kernels.all_labels.request import Gradients, Request, Wants, learning
from megalabel.kernels.core.threads import chunk_ranges, run_ranges, thread_count
from megalabel.kernels.fan_in import plain as fan_in_plain
from megalabel.kernels.fan_in._cpu.arrays import (
    Targets,
    in_blocks,
    kept_of,
    layer_of,
    scratch_for,
    texts_of,
    views,
)
from megalabel.kernels.fan_in._cpu.label_pass import backward, score_labels
from megalabel.kernels.fan_in._cpu.update_tuples import Update, compiled_rule, update_tuples, write_gradients
from megalabel.kernels.fan_in.layer import FanIn

_CHUNK = 1 << 12  # connections per chunk: weights and gradients fit into the L1 cache
_CHUNK_OF_BLOCKS = 1 << 14  # the same for several blocks of texts: they fit into the L2 cache


def scores(xt: Tensor, layer: FanIn, start: int, stop: int) -> Tensor:
    """Logits (n, B) of labels start … stop − 1."""
    z = xt.new_empty(stop - start, xt.shape[1])
    if z.numel():
        texts, own, kept = texts_of(xt), layer_of(layer), kept_of(layer)
        out = z.view(-1).numpy()

        def of_range(r: range) -> None:
            scratch = scratch_for(layer, 1, kept)
            score_labels(start + r.start, start + r.stop, start, texts, own, kept.weight, scratch, out)

        run_ranges(of_range, chunk_ranges(stop - start, 1, thread_count(xt.device)))
    return z


value = partial(fan_in_plain.value, scores=scores)
growth = partial(fan_in_plain.growth, scores=scores)


def gradients(xt: Tensor, layer: FanIn, loss: str, places: Tensor, request: Request) -> Gradients:
    """The gradients of the loss with respect to embedding, weight and bias, as far as they are requested."""
    if not compiled_rule(request.rule):
        return fan_in_plain.gradients(xt, layer, loss, places, request, scores)
    factors = in_blocks(request.text_weights)
    no_slopes = np.empty(0, np.float32)
    targets = Targets(LOSSES.index(loss), places.numpy(), len(places), no_slopes, len(factors) > 0, factors)
    return _backward(xt, layer, targets, request)


def spread(xt: Tensor, layer: FanIn, dz: Tensor, wants: Wants) -> Gradients:
    """The gradients of embedding, weight and bias, given the gradient dz (L, B) of the logits."""
    targets = Targets(-1, np.empty(0, np.int64), 0, dz.view(-1).numpy())
    return _backward(xt, layer, targets, Request(wants))


def _backward(xt: Tensor, layer: FanIn, targets: Targets, request: Request) -> Gradients:
    wants, scale, weight_scale, rule, step, _ = request
    weight, bias = learning(layer.weight, layer.bias, wants)
    kept = kept_of(layer, None if weight is None else rule, step)
    out = Gradients() if rule is not None else Gradients.empty_like(weight, bias)
    updates: tuple[Update | None, Update | None]
    if rule is None:
        updates = write_gradients(out.weight, weight_scale), write_gradients(out.bias, weight_scale)
    else:
        updates = update_tuples(rule, step, weight_scale, weight, bias)
    of_weights, of_biases = updates
    requested = wants[0], of_weights is not None, of_biases is not None
    # A placeholder for what is not requested, of a type for which numba compiles the pass anyway; it is not used.
    unused = of_weights or of_biases or write_gradients(xt.new_empty(0), weight_scale)
    both = of_weights or unused, of_biases or unused
    texts, own = texts_of(xt), layer_of(layer)
    several = texts.wide + texts.narrow > 1
    chunk = max(16, (_CHUNK_OF_BLOCKS if several else _CHUNK) // layer.weight.shape[1])

    def of_range(labels: range) -> Tensor:
        dx = torch.zeros(len(texts.x) if wants[0] else 0)
        mine = texts._replace(dx=dx.numpy())
        scratch = scratch_for(layer, chunk, kept)
        backward(labels.start, labels.stop, chunk, mine, own, targets, *both, requested, scratch, kept)
        return dx

    first, *others = run_ranges(of_range, chunk_ranges(layer.n_labels, 1, thread_count(xt.device)))
    for other in others:
        first += other
    if wants[0]:
        blocks = [block for _, block in views(first, texts)]
        joined = torch.cat([xt[:, :0], *blocks], dim=1)
        out.embedding = joined[:, : texts.n_texts].mul_(scale)
    return out
