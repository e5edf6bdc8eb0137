"""Tables of narrow weights for tests, and how far neighboring numbers of their types are apart."""

from __future__ import annotations

import torch

from megalabel.kernels.core.dtypes import weight_type
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw


def narrow(weight: torch.Tensor, name: str) -> NarrowTable:
    table = NarrowTable.zeros(*weight.shape, weight_type(name))
    table.store(0, weight.detach().float().contiguous(), Draw(7, 0))
    table.codes.requires_grad_()
    return table


def spacing(values: torch.Tensor, name: str) -> torch.Tensor:
    """An upper bound of the distance of neighbors of these numbers (L, F)."""
    if name == "bfloat16":
        return values.abs() / 2**7 + 1e-30
    return torch.maximum(values.abs(), values.abs().amax(1, keepdim=True) / 2**13) / 2**3
