"""Heads as graphs: views (n, V, D) to the scores and labels (n, k), a chunk of labels at a time."""

from __future__ import annotations

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
from megalabel.onnx.cascade import CascadeGraph
from megalabel.onnx.encoders import refused
from megalabel.onnx.ranking import CHUNK, ChunkedGraph, Ranked, columns, merged, pieces, rows_of

INPUTS = 4  # as many numbers as labels in a chunk that a sparse head gathers per text at a time


def head_graph(head: Head, k: int, chunk: int = CHUNK) -> nn.Module:
    """A module that maps views (n, V, D) to the scores (n, k) float32 and the labels (n, k) int64 of a head.

    Args:
        head: the head; its exact class matters, since a subclass may score in another way.
        k: labels per text, at most those of the head.
        chunk: labels that are scored at a time.

    Raises:
        SettingError: another kind of head.
    """
    if type(head) is DenseHead:
        return DenseGraph(rows_of(head.table(frozen=True)), head.bias, k, chunk)
    if type(head) is DualEncoderHead:
        return DenseGraph(head.get_buffer("label_vectors"), None, k, chunk, temperature=head.temperature)
    if type(head) is SparseHead:
        return SparseGraph(head, k, chunk)
    if type(head) is CascadeHead:
        return CascadeGraph(head, k, chunk)
    if type(head) is WithProjection:
        return ProjectionGraph(head, k, chunk)
    if type(head) is PartitionedHead:
        return PartitionedGraph(head, k, chunk)
    raise refused(f"a model with the head {type(head).__name__}")


class DenseGraph(ChunkedGraph):
    """x · w + b over all labels, for x of length 1 / temperature where there is a temperature."""

    def __init__(
        self, table: Tensor, bias: Tensor | None, k: int, chunk: int, *, temperature: float | None = None
    ) -> None:
        super().__init__(len(table), chunk, k)
        self.temperature = temperature
        self.tables, self.biases = columns(table, chunk), pieces(bias, chunk)

    def scores(self, x: Tensor, i: int) -> Tensor:
        """The scores (n, C) of the labels of chunk i."""
        if self.temperature is not None:
            x = normalize(x, dim=1) / self.temperature
        z: Tensor = x @ self.tables[i]
        return z if self.biases is None else z + self.biases[i]


class SparseGraph(ChunkedGraph):
    """Σ_j w_j · x[input j] + b by gathers, so that the file stays as small as the head."""

    def __init__(self, head: SparseHead, k: int, chunk: int) -> None:
        groups = max(1, INPUTS * chunk // (head.fan_in * head.group))
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
            z = (read * weights[:, :, 0]).sum(2)
        else:
            z = (read.transpose(0, 1) @ weights).transpose(0, 1).flatten(1)[:, : len(bias)]
        found: Tensor = z + bias
        return found


class ProjectionGraph(nn.Module):
    """A linear layer and an activation before another head."""

    def __init__(self, head: WithProjection, k: int, chunk: int) -> None:
        super().__init__()
        self.linear, self.activation = head.linear, ACTIVATIONS[head.activation]
        self.inside = head_graph(head.head, k, chunk)

    def forward(self, views: Tensor) -> Ranked:
        """Maps views (n, 1, D) to scores and labels (n, k)."""
        found: Ranked = self.inside(self.activation(self.linear(views)))
        return found


class PartitionedGraph(nn.Module):
    """The best of the best labels of several heads."""

    def __init__(self, head: PartitionedHead, k: int, chunk: int) -> None:
        super().__init__()
        self.k = k
        self.parts = nn.ModuleList(head_graph(part, min(k, part.n_labels), chunk) for part in head.heads)
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
