"""What is applied to pooled vectors: dense layers and norms of sentence-transformers, and CascadeXML's join."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from megalabel.encoders.sentence_transformers import Module
from megalabel.encoders.weights import read_state
from megalabel.errors import SettingError

ACTIVATIONS = (
    "Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "LeakyReLU", "ELU", "SELU", "Mish", "Softplus", "ReLU6",
)  # fmt: skip
JOIN_DROPOUT = 0.2  # before the linear map, as in CascadeXML


class Dense(nn.Module):
    """A linear map of the vectors (B, I) to (B, O), its activation, and perhaps the vector itself added.

    Args:
        in_features, out_features: I and O.
        bias: whether the linear map has a bias.
        activation: one of `ACTIVATIONS`, as torch.nn names them.
        residual: whether the vector is added to the result, by a linear map of its own where I is not O.

    Raises:
        SettingError: another activation.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        activation: str = "Tanh",
        residual: bool = False,
    ) -> None:
        super().__init__()
        if activation not in ACTIVATIONS:
            raise SettingError.choice("activation_function", activation, ACTIVATIONS)
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        self.activation: nn.Module = getattr(nn, activation)()
        self.adds = residual
        wider = residual and in_features != out_features
        self.residual = nn.Linear(in_features, out_features, bias=False) if wider else None

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (B, I) to (B, O)."""
        y: Tensor = self.activation(self.linear(x))
        if self.adds:
            y = y + (x if self.residual is None else self.residual(x))
        return y


class Norm(nn.Module):
    """A LayerNorm of the vectors (B, D)."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(features)

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (B, D) to (B, D)."""
        y: Tensor = self.norm(x)
        return y


class UnitLength(nn.Module):
    """Scales the vectors (B, D) to the length 1."""

    def forward(self, x: Tensor) -> Tensor:
        """Maps x (B, D) to (B, D)."""
        return nn.functional.normalize(x, dim=-1)


KINDS: dict[str, type[nn.Module]] = {"Dense": Dense, "LayerNorm": Norm, "Normalize": UnitLength}


def modules_after(configs: Sequence[Mapping[str, Any]]) -> nn.ModuleList:
    """The modules with these configs, with random weights."""
    arguments = [{key: value for key, value in config.items() if key != "kind"} for config in configs]
    made = zip(configs, arguments, strict=True)
    return nn.ModuleList(KINDS[config["kind"]](**values) for config, values in made)


def width_after(configs: Sequence[Mapping[str, Any]], width: int) -> int:
    """The width of the result for vectors of a width.

    Raises:
        SettingError: a module reads vectors of another width.
    """
    for config in configs:
        reads = config.get("in_features", config.get("features", width))
        if reads != width:
            raise SettingError(
                f"vectors of width {width} for the module {config['kind']} of the encoder, which reads {reads}",
                wanted="one layer, pooled as the encoder says",
                next_step="read the last layer alone, or choose pooling=first or mean, without the module",
                where="encoder",
            )
        width = config.get("out_features", width)
    return width


def load_after(modules: nn.ModuleList, described: Sequence[Module]) -> None:
    """Reads the weights of modules from their files, in place.

    Raises:
        FormatError: a file is damaged.
        SettingError: a file holds other tensors.
    """
    for module, part in zip(modules, described, strict=True):
        if part.weights is None:
            continue
        own, given = module.state_dict(), read_state(part.weights)
        shapes = {name: tuple(tensor.shape) for name, tensor in own.items()}
        found = {name: tuple(tensor.shape) for name, tensor in given.items()}
        if shapes != found:
            raise SettingError(
                f"{part.weights} holds tensors of the shapes {found}",
                wanted=f"{shapes}, as the config.json beside it says",
                next_step="copy the folder again, or save the encoder again by sentence-transformers",
                where="encoder",
            )
        with torch.no_grad():
            for name, tensor in own.items():
                tensor.copy_(given[name])


def joining(wide: int, width: int) -> nn.Module:
    """The map of several layers side by side, (B, wide), to the width of one."""
    linear = nn.Linear(wide, width)
    nn.init.xavier_uniform_(linear.weight)
    nn.init.zeros_(linear.bias)
    return nn.Sequential(nn.Dropout(JOIN_DROPOUT), linear)
