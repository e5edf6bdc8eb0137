"""`Encoder`, the base class of encoders: tokens (B, T) to views (B, V, D)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from megalabel.inputs.augment import Rows
    from megalabel.inputs.tokenizer import TextTokenizer
    from megalabel.types import Batch


class Encoder(nn.Module, ABC):
    """Turns texts into vectors.

    An encoder owns its tokenizer, knows its width `dim` (D) and how many `n_views` (V) it gives of each
    text, and can say in JSON how to build it again (`config`, read back by `from_config`).
    """

    dim: int
    n_views: int = 1
    tokenizer: TextTokenizer
    notes: tuple[str, ...] = ()  # sentences that training prints first, such as which weights were loaded

    @abstractmethod
    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Maps tokens (B, T) int64 and mask (B, T) bool to views (B, V, D) float, also for empty texts."""

    def views(self, batch: Batch) -> Tensor:
        """The views of a training batch, (B, V, D); an encoder with a cache looks them up by `batch.rows`."""
        views: Tensor = self(batch.tokens, batch.mask)
        return views

    def prepare(self, rows: Rows, folder: Path, device: torch.device) -> None:
        """Called once before training with the training rows and a folder for caches; does nothing by default."""

    @abstractmethod
    def config(self) -> dict[str, Any]:
        """What `from_config` needs, as JSON: the shape, not the weights."""

    @classmethod
    @abstractmethod
    def from_config(cls, config: dict[str, Any], tokenizer: TextTokenizer, folder: Path) -> Encoder:
        """An encoder of the same shape; its weights are loaded afterwards. `folder` holds the model."""


class ResidualBlock(nn.Module):
    """x + W₂ gelu(W₁ norm(x)) of the same width; initially the identity, since W₂ starts at zero."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.widen = nn.Linear(dim, hidden)
        self.narrow = nn.Linear(hidden, dim)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (…, D) to (…, D)."""
        y: Tensor = x + self.narrow(nn.functional.gelu(self.widen(self.norm(x))))
        return y
