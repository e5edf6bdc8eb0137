"""Triton implementation of `label_pass.py`: no gradient of the weights and no B × L matrix exist in memory.

For each chunk of labels one kernel computes logits and their gradient dz (n, B), one adds the chunk's part of the
embedding's gradient, and one computes the gradient of the weights, applies the rule and rounds. All three read the
chunk's weights, from the second-level cache as far as it holds them. No additions are atomic: the same step gives
the same bits.

Rules without a kernel (`learns`) get dz, as in the plain pass, and biases are updated by the rule itself. Without
a rule, gradients of weights are matrix products. Only checked tensors on one device may be passed: CUDA, or the
CPU with TRITON_INTERPRET=1.
"""

from __future__ import annotations

import torch
from torch import Tensor

from megalabel.kernels.all_labels._triton.adam_step import adam_step
from megalabel.kernels.all_labels._triton.sgd_step import sgd_step
from megalabel.kernels.all_labels._triton.slopes import add_to_embedding, embedding_sums, losses, slopes
from megalabel.kernels.all_labels._triton.tiles import STEP_HEIGHT, Table
from megalabel.kernels.all_labels.label_pass import Chunks, PositiveCells
from megalabel.kernels.all_labels.request import Gradients, Request, learning
from megalabel.kernels.core.threads import even_chunk
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.kernels.updates.rule import LabelRows, StepContext, UpdateRule
from megalabel.kernels.updates.sgd_rule import SGDRule

# Weights and dz of a chunk: large enough that launching its kernels takes less time than their work, and not much
# larger than the second-level cache of an H100 (50 MB).
_BYTES = 64 << 20


def chunk_size(x: Tensor, weight: Tensor | NarrowTable) -> int:
    """The number of labels of a chunk, a multiple of the labels of a tile."""
    table = Table.of(weight)
    n_labels, dim = table.codes.shape
    per_label = dim * table.codes.element_size() + x.shape[0] * x.element_size()
    wanted = even_chunk(n_labels, max(STEP_HEIGHT, _BYTES // per_label), 1)
    return -(-wanted // STEP_HEIGHT) * STEP_HEIGHT


def value(
    loss: str,
    x: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    positives: PositiveCells,
    chunks: Chunks,
    text_weights: Tensor | None = None,
) -> Tensor:
    """The loss summed over texts and labels, a float64 scalar; x (B, D) in the type that products run in."""
    x, bias, text_weights = _contiguous(x, bias, text_weights)
    table = Table.of(weight)
    total = torch.zeros((), dtype=torch.float64, device=x.device)
    for c in range(chunks.ranges[-1].stop):
        start, stop = chunks.bounds(c)
        of_bias = None if bias is None else bias[start:stop]
        total += losses(loss, x, table.rows(start, stop), of_bias, positives.of_chunk(c), text_weights)
    return total


def gradients(
    loss: str,
    x: Tensor,
    weight: Tensor | NarrowTable,
    bias: Tensor | None,
    positives: PositiveCells,
    chunks: Chunks,
    request: Request,
) -> Gradients:
    """The gradients with respect to (x, weight, bias) that are wanted, as `label_pass.gradients`."""
    wants, scale, weight_scale, rule, step, text_weights = request
    x, own_bias, text_weights = _contiguous(x, bias, text_weights)
    table, narrow = Table.of(weight), weight if isinstance(weight, NarrowTable) else None
    moving = learning(weight if isinstance(weight, Tensor) else weight.codes, bias, wants)
    out = Gradients() if rule is not None else Gradients.empty_like(*moving)
    sums = embedding_sums(x, chunks.size) if wants[0] else None
    buffer = x.new_empty(chunks.size, x.shape[0])
    for c in range(chunks.ranges[-1].stop):
        start, stop = chunks.bounds(c)
        dz = buffer[: stop - start]
        # A rule changes the bias after its chunk was read, and a copy of a bias that is not contiguous never.
        of_bias = None if own_bias is None else own_bias[start:stop]
        slopes(loss, x, table.rows(start, stop), of_bias, positives.of_chunk(c), text_weights, dz)
        if sums is not None:
            add_to_embedding(dz, table.rows(start, stop), sums)
        if rule is not None:
            _learn(rule, dz, x, table, LabelRows(*moving, start, stop, narrow), step, weight_scale)
            continue
        if out.weight is not None:
            torch.mul(torch.mm(dz, x), weight_scale, out=out.weight[start:stop])
        if out.bias is not None:
            torch.mul(dz.sum(1, dtype=torch.float32), weight_scale, out=out.bias[start:stop])
    out.embedding = None if sums is None else sums.sum(0).mul_(scale)
    return out


def learns(rule: UpdateRule, step: StepContext) -> bool:
    """Whether there is a kernel for a rule; rules of other classes, also derived ones, update by themselves."""
    if type(rule) is NarrowSGDRule:
        return rule.compensated is None
    return type(rule) is SGDRule or (type(rule) is AdamRule and step.single)


def _learn(
    rule: UpdateRule, dz: Tensor, x: Tensor, table: Table, labels: LabelRows, step: StepContext, times: float
) -> None:
    """Updates some labels with the gradient times · dz x of their weights."""
    start, stop = labels.start, labels.stop
    if labels.weight is not None and learns(rule, step):
        part = table.rows(start, stop)
        if isinstance(rule, AdamRule):
            adam_step(rule, dz, x, part, start, times)
        elif isinstance(rule, SGDRule):
            sgd_step(rule, dz, x, part, start, step, times)
        labels = labels._replace(weight=None)
    elif labels.weight is not None and labels.table is not None:
        labels = labels._replace(values=labels.table.load(start, stop))
    if labels.weight is not None or labels.bias is not None:
        rule.update(labels, dz, x, step, times)


def _contiguous(
    x: Tensor, bias: Tensor | None, text_weights: Tensor | None
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    bias = None if bias is None else bias.detach().contiguous()
    return x.contiguous(), bias, None if text_weights is None else text_weights.float().contiguous()
