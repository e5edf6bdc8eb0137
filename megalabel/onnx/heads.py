"""Heads as graphs: views (n, V, D) to the scores and labels (n, k), a chunk of labels at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from megalabel.heads.base import Head
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import ACTIVATIONS, WithProjection
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.onnx.encoders import refused

CHUNK = 1 << 16  # labels whose scores exist at a time: 256 KiB per text
GATHERED = 1 << 18  # numbers per text that a sparse head gathers at a time

Ranked = tuple[Tensor, Tensor]  # keys (n, k) float32, descending, and labels (n, k) int64


def head_graph(head: Head, k: int) -> nn.Module:
    """A module that maps views (n, V, D) to the scores (n, k) float32 and the labels (n, k) int64 of a head.

    Args:
        head: the head; its exact class matters, since a subclass may score in another way.
        k: labels per text, at most those of the head.

    Raises:
        SettingError: another kind of head.
    """
    from megalabel.onnx.cascade import CascadeGraph

    if type(head) is DenseHead:
        return DenseGraph(rows_of(head.table(frozen=True)), head.bias, k)
    if type(head) is DualEncoderHead:
        return DenseGraph(head.get_buffer("label_vectors"), None, k, temperature=head.temperature)
    if type(head) is SparseHead:
        return SparseGraph(head, k)
    if type(head) is CascadeHead:
        return CascadeGraph(head, k)
    if type(head) is WithProjection:
        return ProjectionGraph(head, k)
    if type(head) is PartitionedHead:
        return PartitionedGraph(head, k)
    raise refused(f"a model with the head {type(head).__name__}")


def rows_of(table: Tensor | NarrowTable) -> Tensor:
    """All weights as float32."""
    return table.float() if isinstance(table, NarrowTable) else table.detach().float()


def best(keys: Tensor, k: int, start: int = 0) -> Ranked:
    """The k best labels of keys (n, C), or all where there are fewer; column c is label start + c."""
    values, columns = keys.topk(min(k, keys.shape[1]), dim=1)
    return values, columns + start


def merged(parts: list[Ranked], k: int) -> Ranked:
    """The k best of several rankings."""
    if len(parts) == 1:
        return parts[0]
    keys = torch.cat([part[0] for part in parts], 1)
    labels = torch.cat([part[1] for part in parts], 1)
    values, places = keys.topk(k, dim=1)
    return values, labels.gather(1, places)


class ChunkedGraph(nn.Module, ABC):
    """Ranks chunks of labels and merges their rankings; ties go to the lower label."""

    def __init__(self, n_labels: int, chunk: int, k: int) -> None:
        super().__init__()
        self.k = k
        self.starts = list(range(0, n_labels, chunk))

    @abstractmethod
    def scores(self, x: Tensor, i: int) -> Tensor:
        """The scores (n, C) of the labels of chunk i."""

    def forward(self, views: Tensor) -> Ranked:
        """Maps views (n, 1, D) to scores and labels (n, k)."""
        x = views[:, 0]
        return merged([best(self.scores(x, i), self.k, start) for i, start in enumerate(self.starts)], self.k)


class DenseGraph(ChunkedGraph):
    """x · w + b over all labels, for x of length 1 / temperature where there is a temperature."""

    def __init__(self, table: Tensor, bias: Tensor | None, k: int, temperature: float | None = None) -> None:
        super().__init__(len(table), CHUNK, k)
        self.temperature = temperature
        self.tables, self.biases = columns(table, CHUNK), pieces(bias, CHUNK)

    def scores(self, x: Tensor, i: int) -> Tensor:
        """The scores (n, C) of the labels of chunk i."""
        if self.temperature is not None:
            x = normalize(x, dim=1) / self.temperature
        z = x @ self.tables[i]
        return z if self.biases is None else z + self.biases[i]


class SparseGraph(ChunkedGraph):
    """Σ_j w_j · x[input j] + b by gathers, so that the file stays as small as the head."""

    def __init__(self, head: SparseHead, k: int) -> None:
        groups = max(1, GATHERED // (head.fan_in * head.group))
        super().__init__(head.n_labels, groups * head.group, k)
        self.group, self.fan_in = head.group, head.fan_in
        weights = rows_of(head.table(frozen=True))
        spare = -len(weights) % head.group
        weights = nn.functional.pad(weights, (0, 0, 0, spare))
        weights = weights.view(-1, head.group, head.fan_in).transpose(1, 2)  # (groups, F, G)
        self.weights = pieces(weights.contiguous(), groups)
        self.biases = pieces(head.bias, groups * head.group)
        inputs = head.get_buffer("inputs")
        for i, start in enumerate(range(0, len(inputs), groups)):
            self.register_buffer(f"inputs_{i}", inputs[start : start + groups].reshape(-1).clone())

    def scores(self, x: Tensor, i: int) -> Tensor:
        """The scores (n, C) of the labels of chunk i."""
        assert self.weights is not None and self.biases is not None
        weights, bias = self.weights[i], self.biases[i]
        read = x.index_select(1, self.get_buffer(f"inputs_{i}").to(torch.int32))
        read = read.unflatten(1, (len(weights), self.fan_in))
        if self.group == 1:
            return (read * weights[:, :, 0]).sum(2) + bias
        z = (read.transpose(0, 1) @ weights).transpose(0, 1).flatten(1)
        return z[:, : len(bias)] + bias


class ProjectionGraph(nn.Module):
    """A linear layer and an activation before another head."""

    def __init__(self, head: WithProjection, k: int) -> None:
        super().__init__()
        self.linear, self.activation = head.linear, ACTIVATIONS[head.activation]
        self.inside = head_graph(head.head, k)

    def forward(self, views: Tensor) -> Ranked:
        """Maps views (n, 1, D) to scores and labels (n, k)."""
        found: Ranked = self.inside(self.activation(self.linear(views)))
        return found


class PartitionedGraph(nn.Module):
    """The best of the best labels of several heads."""

    def __init__(self, head: PartitionedHead, k: int) -> None:
        super().__init__()
        self.k = k
        self.parts = nn.ModuleList(head_graph(part, min(k, part.n_labels)) for part in head.heads)
        order = head.order
        for i, (part, start) in enumerate(zip(head.heads, head.starts, strict=False)):
            self.register_buffer(f"labels_{i}", order[start : start + part.n_labels].clone())

    def forward(self, views: Tensor) -> Ranked:
        """Maps views (n, V, D) to scores and labels (n, k)."""
        parts = []
        for i, part in enumerate(self.parts):
            scores, rows = part(views)
            parts.append((scores, self.get_buffer(f"labels_{i}")[rows]))
        return merged(parts, self.k)


def columns(table: Tensor, chunk: int) -> nn.ParameterList:
    """The table (L, D) as matrices (D, C) of up to `chunk` labels each, as a product reads them."""
    return nn.ParameterList(
        nn.Parameter(part.t().contiguous(), requires_grad=False) for part in table.split(chunk)
    )


def pieces(values: Tensor | None, chunk: int) -> nn.ParameterList | None:
    """The rows of a tensor, up to `chunk` at a time; None for None."""
    if values is None:
        return None
    return nn.ParameterList(
        nn.Parameter(part.clone(), requires_grad=False) for part in values.detach().split(chunk)
    )
