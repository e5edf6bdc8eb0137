"""What graphs of models have in common: their inputs, and that labels and scores come out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, NamedTuple

from torch import Tensor, nn


class Inputs(NamedTuple):
    """The inputs of a graph, all of shape (n, T).

    names: those of the arguments of `forward`.
    examples: a tensor for each.
    dims: the `torch.export.Dim` of n and T.
    """

    names: tuple[str, ...]
    examples: tuple[Tensor, ...]
    dims: dict[int, Any]


class ExportedGraph(nn.Module, ABC):
    """A graph whose `forward` returns labels (n, k) int64 and scores (n, k) float32, best first."""

    @abstractmethod
    def inputs(self) -> Inputs:
        """The inputs."""

    def n_bytes(self) -> int:
        """The memory of the weights."""
        tensors = {id(tensor): tensor for tensor in (*self.parameters(), *self.buffers())}
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())
