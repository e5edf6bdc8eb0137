"""`Readout`: which layers of a transformer make a view of the text, and how their tokens are pooled."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor

from megalabel.errors import SettingError

POOLINGS = ("mean", "first", "last", "max", "weighted_mean", "sqrt_mean")


@dataclass(frozen=True)
class Readout:
    """The concatenation of some layers, pooled over the tokens, as one view.

    Attributes:
        layers: fractions of the depth, where 1.0 is the output of the last block. A paper's layer 8 of 12 is
            thereby layer 4 of a model with 6 layers.
        pooling: "mean" over the tokens that are not padding; "first" or "last" of them; "max", of each number;
            "weighted_mean", with the weights 1, 2, 3, …; or "sqrt_mean", their sum over the root of their number.
            Several, joined by "+" as in "first+mean", are put side by side.

    Raises:
        SettingError: the pooling is unknown, or there are no layers or layers outside 0 to 1.
    """

    layers: tuple[float, ...] = (1.0,)
    pooling: str = "mean"

    def __post_init__(self) -> None:
        if not set(self.poolings) <= set(POOLINGS):
            raise SettingError.choice("pooling", self.pooling, POOLINGS)
        if not self.layers or not all(0 <= layer <= 1 for layer in self.layers):
            raise SettingError(
                f"layers = {self.layers}",
                wanted="one or more fractions of the depth, from 0 to 1",
                next_step="give 1.0 for the last layer",
            )

    @property
    def poolings(self) -> tuple[str, ...]:
        """The poolings of each layer."""
        return tuple(self.pooling.split("+"))

    @property
    def parts(self) -> int:
        """The number of vectors that are concatenated."""
        return len(self.layers) * len(self.poolings)

    def __call__(self, hidden: tuple[Tensor, ...], mask: Tensor, read: Tensor | None = None) -> Tensor:
        """Pools tokens.

        Args:
            hidden: depth + 1 tensors (B, T, H), the embeddings first.
            mask: (B, T) bool, the tokens of the texts.
            read: (B, T) bool, those of them that are pooled; None for all.

        Returns:
            (B, parts · H).
        """
        layers = [hidden[layer_of(layer, len(hidden) - 1)] for layer in self.layers]
        vectors = [_pool(layer, mask, read, pooling) for layer in layers for pooling in self.poolings]
        return torch.cat(vectors, dim=-1)

    def config(self) -> dict[str, Any]:
        """The readout as JSON."""
        return asdict(self)

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Readout:
        """The readout that `config` describes."""
        return cls(layers=tuple(config["layers"]), pooling=config["pooling"])


def layer_of(fraction: float, depth: int) -> int:
    """The layer nearest to a fraction of the depth, ties to the lower: layers 7 and 8 of 12 are 3 and 4 of 6."""
    return math.ceil(fraction * depth - 0.5 - 1e-9)


def mean() -> Readout:
    """The masked mean of the tokens of the last layer (Renée)."""
    return Readout()


def first_token(layer: float = 1.0) -> Readout:
    """The first token of a layer (CascadeXML)."""
    return Readout((layer,), "first")


def concatenated(*layers: float, pooling: str = "first") -> Readout:
    """The concatenation of several layers."""
    return Readout(tuple(layers), pooling)


def readout_per_level(layers: Sequence[float], levels: int, pooling: str = "first") -> list[Readout]:
    """Makes one readout per cluster level and one for the labels; the first level reads two layers (CascadeXML).

    Args:
        layers: levels + 2 fractions of the depth, coarse to fine.
        levels: the number of cluster levels.
        pooling: see `Readout`.

    Raises:
        SettingError: the number of layers is not levels + 2.
    """
    if len(layers) != levels + 2:
        raise SettingError(
            f"layers = {tuple(layers)} for {levels} cluster levels",
            wanted=f"{levels + 2} fractions of the depth: two for the first level and one for each other",
            next_step="give that many layers, or choose other depths",
            where="layers",
        )
    first, second, *rest = layers
    return [concatenated(first, second, pooling=pooling), *(Readout((layer,), pooling) for layer in rest)]


def check_enough_layers(depth: int, layers: Sequence[float]) -> None:
    """Raises SettingError if two of the given fractions of the depth are the same layer."""
    taken = [layer_of(layer, depth) for layer in layers]
    if len(set(taken)) < len(taken) or 0 in taken:
        raise SettingError(
            f"an encoder of {depth} layers for {len(layers)} readouts, which would read its layers "
            f"{', '.join(str(layer) for layer in taken)}",
            wanted="layers that all differ and are not before the first",
            next_step="give layers yourself (they may repeat), shared_view, or depths with fewer levels",
            where="layers",
        )


def _pool(hidden: Tensor, mask: Tensor, read: Tensor | None, pooling: str) -> Tensor:
    if pooling == "first" and read is None:
        return hidden[:, 0]
    mask = mask if read is None else read
    if pooling == "first":
        return _taken(hidden, mask.int().argmax(dim=1))
    if pooling == "last":
        places = torch.arange(mask.shape[1], device=mask.device)
        return _taken(hidden, (places * mask).argmax(dim=1))
    if pooling == "max":
        found = hidden.masked_fill(~mask.bool().unsqueeze(-1), torch.finfo(hidden.dtype).min).amax(dim=1)
        return found.masked_fill(~mask.bool().any(dim=1, keepdim=True), 0.0)
    weight = mask.unsqueeze(-1).to(torch.float32)
    if pooling == "weighted_mean":
        weight = weight * torch.arange(1, mask.shape[1] + 1, device=mask.device).unsqueeze(-1)
    total = (hidden.float() * weight).sum(1)
    over = weight.sum(1).clamp(min=1.0)
    return total / (over.sqrt() if pooling == "sqrt_mean" else over)


def _taken(hidden: Tensor, places: Tensor) -> Tensor:
    """The vector at one place of each text: (B, T, H) and (B,) int64 to (B, H)."""
    return hidden.gather(1, places[:, None, None].expand(-1, 1, hidden.shape[2]))[:, 0]
