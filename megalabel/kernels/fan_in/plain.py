"""Reference implementation of `fixed_fan_in.py` for any device and dtype: densified chunks, dense products."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from megalabel.kernels.all_labels import label_loss
from megalabel.kernels.all_labels.request import Gradients, Request, Wants, learning
from megalabel.kernels.core.threads import run_ranges
from megalabel.kernels.fan_in.layer import FanIn
from megalabel.kernels.updates.rule import LabelRows

T = TypeVar("T")
Scores = Callable[[Tensor, FanIn, int, int], Tensor]


def scores(xt: Tensor, layer: FanIn, start: int, stop: int) -> Tensor:
    """Logits (n, B) of labels start … stop − 1."""
    z = layer.dense(start, stop) @ xt
    return z if layer.bias is None else z.add_(layer.bias[start:stop, None])


def value(
    xt: Tensor,
    layer: FanIn,
    loss: str,
    places: Tensor,
    text_weights: Tensor | None = None,
    scores: Scores = scores,
) -> Tensor:
    """The loss summed over texts and labels, a float64 scalar."""

    def of_chunk(start: int, stop: int) -> Tensor:
        z = scores(xt, layer, start, stop)
        return label_loss.value_(loss, z, _within(places, start, stop, xt.shape[1]), text_weights)

    return torch.stack(_of_chunks(of_chunk, layer, xt)).sum()


def gradients(
    xt: Tensor, layer: FanIn, loss: str, places: Tensor, request: Request, scores: Scores = scores
) -> Gradients:
    """The gradients of the loss with respect to embedding, weight and bias, as far as they are requested."""

    def slopes(start: int, stop: int) -> Tensor:
        return _slopes(scores(xt, layer, start, stop), loss, places, start, stop, request.text_weights)

    return _backward(xt, layer, slopes, request)


def spread(xt: Tensor, layer: FanIn, dz: Tensor, wants: Wants) -> Gradients:
    """The gradients of embedding, weight and bias, given the gradient dz (L, B) of the logits."""
    return _backward(xt, layer, lambda start, stop: dz[start:stop], Request(wants))


def growth(
    xt: Tensor,
    layer: FanIn,
    loss: str,
    places: Tensor,
    candidates: Tensor,
    text_weights: Tensor | None = None,
    scores: Scores = scores,
) -> Tensor:
    """(M, C): the square root of Σ over the group's labels of (Σ_b dz[b, l] x[b, candidate])²."""
    out = xt.new_empty(candidates.shape)

    def of_chunk(start: int, stop: int) -> None:
        first, last = start // layer.group, -(-stop // layer.group)
        dense = _slopes(scores(xt, layer, start, stop), loss, places, start, stop, text_weights) @ xt.t()
        dense = torch.nn.functional.pad(dense, (0, 0, 0, (last - first) * layer.group - len(dense)))
        of_group = dense.square_().view(last - first, layer.group, -1).sum(1)
        out[first:last] = of_group.gather(1, candidates[first:last].to(torch.int64)).sqrt_()

    _of_chunks(of_chunk, layer, xt)
    return out


def _of_chunks(body: Callable[[int, int], T], layer: FanIn, xt: Tensor) -> list[T]:
    """The results of `body(start, stop)` for each chunk of labels start … stop − 1, in the order of the chunks."""
    chunks = layer.chunks(xt.shape[1])
    parts = run_ranges(lambda numbers: [body(*chunks.bounds(c)) for c in numbers], chunks.ranges)
    return [result for part in parts for result in part]


def _slopes(z: Tensor, loss: str, places: Tensor, start: int, stop: int, text_weights: Tensor | None) -> Tensor:
    """Overwrites the logits z (n, B) of labels start … stop − 1 with ∂loss/∂z."""
    return label_loss.gradient_(loss, z, _within(places, start, stop, z.shape[1]), text_weights)


def _within(places: Tensor, start: int, stop: int, n_texts: int) -> Tensor:
    """The sorted places label · B + text of labels start … stop − 1, relative to start · B."""
    low, high = torch.searchsorted(places, places.new_tensor([start * n_texts, stop * n_texts])).tolist()
    return places[low:high] - start * n_texts


def _backward(xt: Tensor, layer: FanIn, slopes: Callable[[int, int], Tensor], request: Request) -> Gradients:
    wants, scale, weight_scale, rule, step, _ = request
    weight, bias = learning(layer.weight, layer.bias, wants)
    out = Gradients() if rule is not None else Gradients.empty_like(weight, bias)
    chunks = layer.chunks(xt.shape[1])

    def of_range(numbers: range) -> Tensor | None:
        embedding = torch.zeros_like(xt) if wants[0] else None
        for c in numbers:
            start, stop = chunks.bounds(c)
            dz = slopes(start, stop)
            if embedding is not None:
                embedding.addmm_(layer.dense(start, stop).t(), dz, alpha=scale)
            gw = gb = None
            if weight is not None:
                gw = (dz @ xt.t()).gather(1, layer.places(start, stop)).mul_(weight_scale)
            if bias is not None:
                gb = dz.sum(1).mul_(weight_scale)
            if rule is not None:
                values = layer.values(start, stop) if layer.table is not None else None
                rule.apply(LabelRows(weight, bias, start, stop, layer.table, values), gw, gb, step)
            if out.weight is not None and gw is not None:
                out.weight[start:stop] = gw
            if out.bias is not None and gb is not None:
                out.bias[start:stop] = gb
        return embedding

    out.embedding, *others = run_ranges(of_range, chunks.ranges)
    for other in others:
        if out.embedding is not None and other is not None:
            out.embedding += other
    return out
