"""Ranks labels a chunk at a time, and stores tables in such chunks."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from megalabel.kernels.rounding.narrow_table import NarrowTable

CHUNK = 1 << 16  # labels whose scores exist at a time: 256 KiB per text

Ranked = tuple[Tensor, Tensor]  # scores (n, k) float32, descending, and labels (n, k) int64


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
