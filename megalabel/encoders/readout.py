"""Which layers of a transformer become a view of the text, and how their tokens become one vector."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from megalabel.errors import SettingError


@dataclass(frozen=True)
class Readout:
    """One view: `layers` as fractions of the depth (1.0 is the last block's output), concatenated;
    `pool` is "mean" over the real tokens or the "first" token.

    Fractions, because a paper's layer 8 of 12 is layer 4 of a model with 6.
    """

    layers: tuple[float, ...] = (1.0,)
    pool: str = "mean"

    def __post_init__(self) -> None:
        if self.pool not in ("mean", "first"):
            raise SettingError(
                f"pool = {self.pool!r}", wanted='"mean" or "first"', next_step="name one of the two"
            )
        if not self.layers or not all(0 <= layer <= 1 for layer in self.layers):
            raise SettingError(
                f"layers = {self.layers}",
                wanted="fractions of the depth in [0, 1], one or more",
                next_step="give 1.0 for the last layer",
            )

    @property
    def parts(self) -> int:
        """How many layers are put side by side."""
        return len(self.layers)

    def __call__(self, hidden: tuple[Tensor, ...], mask: Tensor) -> Tensor:
        """hidden: depth + 1 tensors (B, T, H), the embeddings first; mask (B, T) → (B, parts · H)."""
        depth = len(hidden) - 1
        vectors = [_pool(hidden[layer_of(layer, depth)], mask, self.pool) for layer in self.layers]
        return torch.cat(vectors, dim=-1)

    def settings(self) -> dict[str, Any]:
        """The readout as JSON."""
        return asdict(self)

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Readout:
        """The readout that `settings` describes."""
        return cls(layers=tuple(settings["layers"]), pool=settings["pool"])


def layer_of(fraction: float, depth: int) -> int:
    """The layer nearest to a fraction of the depth, the lower of two: layers 7 and 8 of 12 are 3 and 4 of 6."""
    return math.ceil(fraction * depth - 0.5 - 1e-9)


def mean() -> Readout:
    """The masked mean of the last layer's tokens (Renée)."""
    return Readout()


def first_token(layer: float = 1.0) -> Readout:
    """The first token of a layer (CascadeXML)."""
    return Readout((layer,), "first")


def concatenated(*layers: float, pool: str = "first") -> Readout:
    """Several layers side by side."""
    return Readout(tuple(layers), pool)


def a_level_each(layers: Sequence[float], levels: int, pool: str = "first") -> list[Readout]:
    """A readout for each of `levels` cluster levels and the labels; the first takes two layers (CascadeXML).

    layers: levels + 2 fractions of the depth, coarse to fine.
    """
    if len(layers) != levels + 2:
        raise SettingError(
            f"layers = {tuple(layers)} for {levels} cluster levels",
            wanted=f"{levels + 2} fractions of the depth: two for the first level, one for every other",
            next_step="give as many, or other depths",
            where="layers",
        )
    first, second, *rest = layers
    return [concatenated(first, second, pool=pool), *(Readout((layer,), pool) for layer in rest)]


def check_enough_layers(depth: int, layers: Sequence[float]) -> None:
    """SettingError where two of the wanted fractions of the depth are the same layer."""
    taken = [layer_of(layer, depth) for layer in layers]
    if len(set(taken)) < len(taken) or 0 in taken:
        raise SettingError(
            f"an encoder of {depth} layers for {len(layers)} readouts, which would read its layers "
            f"{', '.join(str(layer) for layer in taken)}",
            wanted="layers that all differ, and none before the first",
            next_step="give layers yourself (they may repeat), shared_view, or depths with fewer levels",
            where="layers",
        )


def _pool(hidden: Tensor, mask: Tensor, pool: str) -> Tensor:
    if pool == "first":
        return hidden[:, 0]
    weight = mask.unsqueeze(-1).to(torch.float32)
    total = (hidden.float() * weight).sum(1)
    return total / weight.sum(1).clamp(min=1.0)
