"""Heads over some labels of another head, with the same scores: what ranks a list of allowed labels exactly."""

from __future__ import annotations

import copy
from itertools import pairwise
from typing import TypeVar

import numpy as np
import torch
from torch import Tensor

from megalabel.heads.base import Head
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.base import Wrapper
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.labels.tree import LabelTree

Made = TypeVar("Made", bound=Head)


@torch.no_grad()
def restricted_head(head: Head, labels: Tensor) -> Head | None:
    """A head whose label i is labels[i] of another, or None where its kind cannot be cut.

    Weights are copied, as float32. The beams of a cascade cover all clusters that are left, so that labels are
    scored that the whole cascade would not reach.

    Args:
        head: the head; its exact class matters, since a subclass may score in another way.
        labels: (n,) int64 on the device of the head, ascending, at least one.
    """
    if type(head) is DenseHead:
        dense = DenseHead(len(labels), head.dim, bias=head.bias is not None, loss=head.loss_name, init_std=0.0)
        return _filled(dense, {"weight": _rows(head.table(), labels), "bias": _of(head.bias, labels)})
    if type(head) is SparseHead:
        sparse = SparseHead(len(labels), head.dim, fan_in=head.fan_in, loss=head.loss_name, init_scale=0.0)
        inputs = head.get_buffer("inputs")[labels // head.group]
        values = {"weight": _rows(head.table(), labels), "bias": _of(head.bias, labels), "inputs": inputs}
        return _filled(sparse, values)
    if isinstance(head, DualEncoderHead):
        dual = DualEncoderHead(len(labels), head.dim, temperature=head.temperature)
        return _filled(dual, {"label_vectors": head.get_buffer("label_vectors")[labels]})
    if type(head) is CascadeHead:
        return _cascade(head, labels)
    if type(head) is PartitionedHead:
        return _partitioned(head, labels)
    if isinstance(head, Wrapper):
        inner = restricted_head(head.head, labels)
        if inner is None:
            return None
        wrapper = copy.copy(head)
        wrapper._modules = {**head._modules, "head": inner}
        wrapper.n_labels = inner.n_labels
        return wrapper
    return None


def _cascade(head: CascadeHead, labels: Tensor) -> CascadeHead:
    """The clusters above some labels, and these labels."""
    rows = head.get_buffer("label_to_row")[labels].cpu()
    nodes, order = rows.sort()
    kept, offsets = [nodes], list[np.ndarray]()
    for above in reversed(head.offsets):
        parents = torch.searchsorted(above.cpu(), nodes, right=True) - 1
        nodes, counts = parents.unique(return_counts=True)
        kept.insert(0, nodes)
        offsets.insert(0, np.concatenate([[0], counts.cumsum(0).numpy()]))
    tree = LabelTree(tuple(offsets), order.numpy())
    sizes = [len(rows) for rows in kept[:-1]]
    cut = CascadeHead(
        tree, head.dim, beams=sizes, n_views=head.n_views, path_score=head.path_score, initialize=False
    )
    values: dict[str, Tensor | None] = {}
    for i, (weight, bias) in enumerate(head.tables()):
        at = kept[i].to(bias.device)
        values |= {f"weights.{i}": _rows(weight, at), f"biases.{i}": bias[at]}
    return _filled(cut, values)


def _partitioned(head: PartitionedHead, labels: Tensor) -> PartitionedHead | None:
    """The parts of some labels; parts without any of them are left out."""
    rows, order = head.get_buffer("label_to_row")[labels].sort()
    parts, whole = [], head.heads
    for part, (start, stop) in zip(whole, pairwise(head.starts), strict=True):
        own = rows[(rows >= start) & (rows < stop)] - start
        cut = restricted_head(part, own) if len(own) else None
        if cut is not None:
            cut.reduction = whole[0].reduction
            parts.append(cut)
        elif len(own):
            return None
    return PartitionedHead(parts, order.cpu()).to(order.device)


def _rows(table: Tensor | NarrowTable, rows: Tensor) -> Tensor:
    return table.load_rows(rows) if isinstance(table, NarrowTable) else table[rows]


def _of(values: Tensor | None, rows: Tensor) -> Tensor | None:
    return None if values is None else values[rows]


def _filled(head: Made, values: dict[str, Tensor | None]) -> Made:
    """The head with these parameters and buffers, on their device, in evaluation mode."""
    given = {name: value for name, value in values.items() if value is not None}
    head = head.to(next(iter(given.values())).device).eval()
    state = head.state_dict()
    for name, value in given.items():
        state[name].copy_(value)
    return head
