"""The types in which the weights of a head can be stored, and how numbers are rounded to them.

    name       bits   grid                                       largest      scale
    float32    32     torch.float32                              3.4e38       none
    bfloat16   16     1 sign, 8 exponent, 7 mantissa bits        3.4e38       none
    float8      8     E4M3: 1 sign, 4 exponent, 3 mantissa bits  448          a power of two per row

E4M3 is that of Micikevicius et al., "FP8 formats for deep learning" (arXiv 2209.05433): no infinities, one NaN per
sign, subnormal numbers below 2⁻⁶ with a spacing of 2⁻⁹.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from megalabel.errors import SettingError

WeightName = Literal["float32", "bfloat16", "float8"]


@dataclass(frozen=True)
class WeightType:
    """A type in which weights are stored.

    Attributes:
        name: the name in options and configurations.
        dtype: the dtype of the stored tensor.
        bits: bits per weight.
        mantissa_bits: explicit bits of the mantissa; the spacing of normal numbers in [2ⁿ, 2ⁿ⁺¹) is
            2^(n − mantissa_bits).
        min_exponent: the exponent of the smallest normal number, below which the spacing no longer changes.
        largest: the largest finite number.
        rounding: "nearest", as PyTorch rounds, or "stochastic": to one of the two neighbors on the grid, with the
            probabilities that make the expectation exact.
        scale: "none", or "row": each row is stored divided by a power of two of its own.
    """

    name: WeightName
    dtype: torch.dtype
    bits: int
    mantissa_bits: int
    min_exponent: int
    largest: float
    rounding: Literal["nearest", "stochastic"]
    scale: Literal["none", "row"]

    @property
    def is_narrow(self) -> bool:
        """Whether weights take less memory than in float32, and are computed with in float32 all the same."""
        return self.bits < 32

    @property
    def row_bytes(self) -> int:
        """Bytes per row beside its weights: an exponent where rows are scaled."""
        return 1 if self.scale == "row" else 0


FLOAT32 = WeightType("float32", torch.float32, 32, 23, -126, torch.finfo(torch.float32).max, "nearest", "none")
BFLOAT16 = WeightType(
    "bfloat16", torch.bfloat16, 16, 7, -126, torch.finfo(torch.bfloat16).max, "stochastic", "none"
)
FLOAT8 = WeightType("float8", torch.float8_e4m3fn, 8, 3, -6, 448.0, "stochastic", "row")
WEIGHT_TYPES: dict[str, WeightType] = {kind.name: kind for kind in (FLOAT32, BFLOAT16, FLOAT8)}


def weight_type(name: str, where: str = "weights") -> WeightType:
    """The type of a name; SettingError if there is none."""
    try:
        return WEIGHT_TYPES[name]
    except (KeyError, TypeError):
        raise SettingError(
            f"{where}={name!r}", wanted=" or ".join(WEIGHT_TYPES), next_step="name one of them", where=where
        ) from None
