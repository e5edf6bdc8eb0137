"""Triton implementation of `fan_in/fixed_fan_in.py`: x is transposed, so that a connection reads one row.

If labels have their own inputs (or share them in small groups), the logits and the weight gradients are sums over
gathered rows of x (D, B), which stay in the L1 cache of the multiprocessor. The embedding's gradient is a product
with the densified weights of the chunk, computed by cuBLAS: without atomic additions, the same step gives the same
bits. If groups are large, all three are products of a group's weights with its gathered rows, and the rows of the
embedding's gradient are summed in the order of their inputs.

A pass allocates about _BYTES besides its results. Where weight gradients are summed, texts without a gradient are
skipped without reading x. Only checked tensors on one device may be passed: CUDA, or the CPU with
TRITON_INTERPRET=1.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
import triton
from torch import Tensor

from megalabel.kernels.all_labels import label_loss
from megalabel.kernels.all_labels.request import Gradients, Request, Wants, learning
from megalabel.kernels.fan_in._triton.bodies import densify, forward, gradient, sum_rows
from megalabel.kernels.fan_in.layer import FanIn
from megalabel.kernels.updates.rule import LabelRows

_BYTES = 256 << 20  # of a chunk: large enough that launching some tens of kernels takes less time than their work
_LARGE = 16  # group size from which batched products per group are faster
_TOGETHER = 8  # rows of x whose loads a thread issues before it uses the first


def scores(xt: Tensor, layer: FanIn, start: int, stop: int) -> Tensor:
    """Logits (n, B) of labels start … stop − 1."""
    z = _scores_of_groups(xt, layer, start, stop) if layer.group >= _LARGE else _scores(xt, layer, start, stop)
    return z if layer.bias is None else z.add_(layer.bias[start:stop, None])


def value(xt: Tensor, layer: FanIn, loss: str, places: Tensor, text_weights: Tensor | None = None) -> Tensor:
    """The loss summed over texts and labels, a float64 scalar."""
    total = torch.zeros((), dtype=torch.float64, device=xt.device)
    for start, stop, own in _chunks(layer, xt.shape[1], places):
        total += label_loss.value_(loss, scores(xt, layer, start, stop), own, text_weights)
    return total


def gradients(xt: Tensor, layer: FanIn, loss: str, places: Tensor, request: Request) -> Gradients:
    """The gradients of the loss with respect to embedding, weight and bias, as far as they are requested."""

    def slopes(start: int, stop: int, own: Tensor) -> Tensor:
        return label_loss.gradient_(loss, scores(xt, layer, start, stop), own, request.text_weights)

    return _backward(xt, layer, places, slopes, request)


def spread(xt: Tensor, layer: FanIn, dz: Tensor, wants: Wants) -> Gradients:
    """The gradients of embedding, weight and bias, given the gradient dz (L, B) of the logits."""
    none = torch.empty(0, dtype=torch.int64, device=dz.device)
    return _backward(xt, layer, none, lambda start, stop, _: dz[start:stop].contiguous(), Request(wants))


def growth(
    xt: Tensor,
    layer: FanIn,
    loss: str,
    places: Tensor,
    candidates: Tensor,
    text_weights: Tensor | None = None,
) -> Tensor:
    """(M, C): the square root of Σ over the group's labels of (Σ_b dz[b, l] x[b, candidate])²."""
    out = layer.weight.new_empty(candidates.shape)
    for start, stop, own in _chunks(layer, xt.shape[1], places, candidates.shape[1]):
        dz = label_loss.gradient_(loss, scores(xt, layer, start, stop), own, text_weights)
        g = _whole_groups(_of_weights(xt, dz, candidates.contiguous(), layer.group, start, 1.0), layer.group)
        torch.linalg.vector_norm(g, dim=1, out=out[start // layer.group : -(-stop // layer.group)])
    return out


def _backward(
    xt: Tensor,
    layer: FanIn,
    places: Tensor,
    slopes: Callable[[int, int, Tensor], Tensor],
    request: Request,
) -> Gradients:
    wants, scale, weight_scale, rule, step, _ = request
    weight, bias = learning(layer.weight, layer.bias, wants)
    out = Gradients() if rule is not None else Gradients.empty_like(weight, bias)
    out.embedding = torch.zeros_like(xt) if wants[0] else None
    for start, stop, own in _chunks(layer, xt.shape[1], places):
        dz = slopes(start, stop, own)
        if out.embedding is not None:
            add = _add_of_groups if layer.group >= _LARGE else _add_densified
            add(out.embedding, dz, layer, start, stop, scale)
        gw = gb = None
        if weight is not None:
            gw = _of_weights(xt, dz, layer.inputs.contiguous(), layer.group, start, weight_scale)
        if bias is not None:
            gb = dz.sum(1).mul_(weight_scale)
        if rule is not None:
            rule.apply(LabelRows(weight, bias, start, stop), gw, gb, step)
        if out.weight is not None and gw is not None:
            out.weight[start:stop] = gw
        if out.bias is not None and gb is not None:
            out.bias[start:stop] = gb
    return out


def _chunks(
    layer: FanIn, n_texts: int, places: Tensor, n_candidates: int = 0
) -> Iterator[tuple[int, int, Tensor]]:
    """Bounds of chunks of whole groups and the positives within each; copies to the host only once."""
    fan_in, group = max(layer.weight.shape[1], n_candidates), layer.group
    own = 2 * fan_in * n_texts // group if group >= _LARGE else layer.dim
    n_groups = max(1, _BYTES // (4 * group * (own + n_texts + fan_in)))
    step = min(n_groups * group, layer.n_labels)
    starts = range(0, layer.n_labels, step)
    bounds = torch.tensor([*starts, layer.n_labels], device=places.device) * n_texts
    cuts = torch.searchsorted(places, bounds).tolist()
    for i, start in enumerate(starts):
        yield start, min(start + step, layer.n_labels), places[cuts[i] : cuts[i + 1]] - start * n_texts


def _whole_groups(rows: Tensor, group: int) -> Tensor:
    """Rows of labels (n, …) that begin with a group, as (groups, group, …); missing labels are zeros."""
    missing = -len(rows) % group
    rows = torch.nn.functional.pad(rows, (0, 0, 0, missing)) if missing else rows
    return rows.view(len(rows) // group, group, rows.shape[1])


def _gathered(xt: Tensor, inputs: Tensor, group: int, start: int, stop: int) -> Tensor:
    """The rows of x (D, B) that are the inputs of the groups of labels start … stop − 1: (groups, F, B)."""
    rows = inputs[start // group : -(-stop // group)]
    return xt.index_select(0, rows.reshape(-1).to(torch.int64)).view(*rows.shape, xt.shape[1])


def _scores_of_groups(xt: Tensor, layer: FanIn, start: int, stop: int) -> Tensor:
    fan_in, group, n_texts = layer.weight.shape[1], layer.group, xt.shape[1]
    first, last = start // group * group, min(-(-stop // group) * group, layer.n_labels)
    step = max(1, _BYTES // (4 * fan_in * max(1, n_texts))) * group  # chunks of the top k may be larger
    parts = []
    for a in range(first, last, step):
        b = min(a + step, last)
        rows = _gathered(xt, layer.inputs, group, a, b)
        parts.append(torch.bmm(_whole_groups(layer.weight[a:b], group), rows).flatten(0, 1))
    return (parts[0] if len(parts) == 1 else torch.cat(parts))[start - first : stop - first]


def _scores(xt: Tensor, layer: FanIn, start: int, stop: int) -> Tensor:
    n, n_texts = stop - start, xt.shape[1]
    z = xt.new_empty(n, n_texts)
    if n_texts == 0:
        return z
    width = min(128, max(16, triton.next_power_of_2(n_texts)))
    height = max(8, 512 // width)
    with torch.cuda.device_of(xt):  # Triton launches on the current device, not on that of the tensors
        forward[(triton.cdiv(n, height), triton.cdiv(n_texts, width))](
            xt.contiguous(),
            layer.weight[start:stop],
            layer.inputs.contiguous(),
            z,
            start,
            n,
            layer.weight.shape[1],
            n_texts,
            layer.group,
            HEIGHT=height,
            WIDTH=width,
            TOGETHER=_TOGETHER,
            num_warps=4,
        )
    return z


def _of_weights(xt: Tensor, dz: Tensor, inputs: Tensor, group: int, start: int, scale: float) -> Tensor:
    """scale · Σ_b dz[l, b] x[inputs[l // group, j], b] for the labels from `start` on: (n, F)."""
    (n, n_texts), fan_in = dz.shape, inputs.shape[1]
    if group >= _LARGE:
        gathered = _gathered(xt, inputs, group, start, start + n)
        g = torch.bmm(_whole_groups(dz, group), gathered.transpose(1, 2))
        return g.flatten(0, 1)[:n].mul_(scale)
    g = xt.new_empty(n, fan_in)
    connections = min(16, triton.next_power_of_2(fan_in))
    with torch.cuda.device_of(xt):
        # One warp per label: no synchronization, and a label without a gradient is finished immediately.
        gradient[(n, triton.cdiv(fan_in, connections))](
            xt.contiguous(),
            dz,
            inputs,
            g,
            float(scale),
            start,
            fan_in,
            n_texts,
            group,
            CONNECTIONS=connections,
            TEXTS=min(64, max(16, triton.next_power_of_2(n_texts))),
            num_warps=1,
        )
    return g


def _add_densified(into: Tensor, dz: Tensor, layer: FanIn, start: int, stop: int, scale: float) -> None:
    """Adds the contribution of a chunk of labels to the embedding's gradient (D, B)."""
    n, labels = stop - start, 128
    dense = dz.new_zeros(n, layer.dim)
    with torch.cuda.device_of(dz):
        # One pipeline stage: a read must not overtake the write of an earlier connection.
        densify[(triton.cdiv(n, labels),)](
            layer.weight[start:stop],
            layer.inputs.contiguous(),
            dense,
            start,
            n,
            layer.weight.shape[1],
            layer.dim,
            layer.group,
            LABELS=labels,
            num_warps=labels // 32,
            num_stages=1,
        )
    into.addmm_(dense.t(), dz, alpha=scale)


def _add_of_groups(into: Tensor, dz: Tensor, layer: FanIn, start: int, stop: int, scale: float) -> None:
    """The same for large groups: one row per input of each group, summed by input."""
    (dim, n_texts), group = into.shape, layer.group
    rows = torch.bmm(_whole_groups(layer.weight[start:stop], group).transpose(1, 2), _whole_groups(dz, group))
    inputs, order = layer.inputs[start // group : -(-stop // group)].reshape(-1).sort(stable=True)
    cuts = torch.searchsorted(inputs.to(torch.int64), torch.arange(dim + 1, device=into.device))
    if n_texts == 0:
        return
    width = min(128, max(16, triton.next_power_of_2(n_texts)))
    with torch.cuda.device_of(dz):
        sum_rows[(dim, triton.cdiv(n_texts, width))](
            rows, order, cuts, into, float(scale), n_texts, HEIGHT=16, WIDTH=width, num_warps=4
        )
