"""Small layers of fixed fan-in, and the equivalent dense layers in float64."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.fan_in.connections import input_dtype
from megalabel.kernels.fan_in.fixed_fan_in import fan_in_loss, plain
from megalabel.types import Positives


@dataclass
class Case:
    """x (B, D), weight (L, F), bias (L,) or None, inputs (M, F), positives and G."""

    x: Tensor
    weight: Tensor
    bias: Tensor | None
    inputs: Tensor
    positives: Positives
    group: int

    def of(self, dtype: torch.dtype) -> Case:
        """A copy in another dtype, whose tensors require gradients."""
        x, weight = (t.detach().to(dtype, copy=True).requires_grad_() for t in (self.x, self.weight))
        bias = None if self.bias is None else self.bias.detach().to(dtype, copy=True).requires_grad_()
        return replace(self, x=x, weight=weight, bias=bias)

    @property
    def parameters(self) -> list[Tensor]:
        return [t for t in (self.x, self.weight, self.bias) if t is not None]

    def loss(self, loss: str, **options: Any) -> Tensor:
        x, weight, bias, inputs = self.x, self.weight, self.bias, self.inputs
        return fan_in_loss(x, weight, bias, inputs, self.positives, group=self.group, loss=loss, **options)

    def truth(self, loss: str, scale: float = 1.0) -> Tensor:
        x, weight, bias, inputs = self.x, self.weight, self.bias, self.inputs
        return plain(x, weight, bias, inputs, self.positives, group=self.group, loss=loss, scale=scale)

    def dense_weight(self) -> Tensor:
        """The dense weights (L, D), computed by a loop."""
        dense = self.weight.new_zeros(len(self.weight), self.x.shape[1])
        for label in range(len(self.weight)):
            for j, place in enumerate(self.inputs[label // self.group].tolist()):
                dense[label, place] += self.weight[label, j].detach()
        return dense


def case(
    seed: int,
    n_labels: int = 37,
    fan_in: int = 5,
    dim: int = 9,
    n_texts: int = 6,
    group: int = 1,
    bias: bool = True,
    density: float = 0.2,
) -> Case:
    """A random layer; inputs are drawn with replacement, so that duplicates are common."""
    rng = np.random.default_rng(seed)

    def normal(*size: int) -> Tensor:
        return torch.from_numpy(rng.standard_normal(size))

    n_groups = -(-n_labels // group)
    inputs = torch.from_numpy(rng.integers(0, dim, (n_groups, fan_in))).to(input_dtype(dim))
    pairs = torch.from_numpy(rng.random((n_texts, n_labels)) < density).nonzero()
    weight = normal(n_labels, fan_in) / fan_in**0.5
    positives = Positives.from_pairs(pairs[:, 0], pairs[:, 1])
    return Case(normal(n_texts, dim), weight, normal(n_labels) if bias else None, inputs, positives, group)


def close(a: Tensor, b: Tensor) -> None:
    """Asserts equality up to the rounding of a's dtype, relative to the largest number of b."""
    tolerance = 2e-5 if a.dtype == torch.float32 else 1e-11
    largest = float(b.detach().abs().max()) if b.numel() else 0.0
    torch.testing.assert_close(a.detach().to(b.dtype), b.detach(), rtol=tolerance, atol=tolerance * (1 + largest))
