"""Stochastic rounding of rows of weights to a narrow type, and reading them back.

    q(u)  = 2^(max(⌊log₂|u|⌋, min_exponent) − mantissa_bits)          the spacing of the type's grid at u
    R(u)  = sign(u) · q · (⌊|u| / q⌋ + [ξ < frac(|u| / q)]),   ξ uniform in [0, 1)

so that E[R(u)] = u: an update far below the spacing still moves the weight in expectation. q is the spacing of
subnormal numbers too, where adding random bits to the mantissa of a float32 and cutting it off is biased: all
numbers of float8 below 2⁻⁶ have the spacing 2⁻⁹. Numbers on the grid are kept as they are.

Rows of a type with `scale == "row"` are stored as R(w / 2ᵉ), where e is the smallest exponent for which the
largest number of the row fits: nothing saturates, and the smallest spacing of a row is about 2⁻¹⁷ of its largest
number. Without a scale, numbers beyond the largest are stored as the largest. A row of float8 with a number that
is not finite becomes NaN, and of bfloat16 such a number alone.

ξ has 31 bits and is a function of (seed, row, column, number of the rounding): neither the division into chunks
nor the number of threads changes it. Source: ELMO (arXiv 2510.11168), section on stochastic rounding; subnormal
numbers and the scale are our additions.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.core.dtypes import WeightType
from megalabel.kernels.core.random import row_bits, row_keys

_ROUNDING = Operation(__package__, "stochastic_rounding")

SMALLEST_EXPONENT, LARGEST_EXPONENT = -100, 120  # of a row; scaled numbers then remain normal in float32
_BITS = 31


class Draw(NamedTuple):
    """Which random numbers a rounding takes.

    seed: of the run.
    number: how many roundings of the same table came before.
    first: the number of the table's first row, where the table holds some rows of a larger one.
    """

    seed: int
    number: int
    first: int = 0


def plain_round(values: Tensor, kind: WeightType, bits: Tensor) -> Tensor:
    """R(u) as float64: values of any shape; bits, of the same shape, ξ · 2³¹ as integers."""
    size = values.double().abs()
    finite = size.isfinite()
    size = torch.where(finite, size, 0.0)
    exponent = torch.frexp(size)[1].to(torch.int64) - 1
    spacing = _power(exponent.clamp_min(kind.min_exponent) - kind.mantissa_bits)
    steps = size / spacing
    below = steps.floor()
    up = bits < ((steps - below) * 2.0**_BITS).floor()
    rounded = ((below + up) * spacing).clamp_max(kind.largest)
    return torch.where(finite, rounded, torch.nan).copysign(values.double())


def row_exponents(values: Tensor, kind: WeightType) -> Tensor:
    """The smallest exponents e with |values| ≤ largest · 2ᵉ in each row (n, D), within their range: (n,) int8."""
    most = values.double().abs().amax(1) if values.shape[1] else values.new_zeros(len(values)).double()
    most = torch.where(most.isfinite(), most, kind.largest)
    exponent = torch.frexp(most / kind.largest)[1].to(torch.int64)
    exponent -= (_power(exponent - 1) * kind.largest >= most).to(torch.int64)
    exponent[most == 0] = SMALLEST_EXPONENT
    return exponent.clamp_(SMALLEST_EXPONENT, LARGEST_EXPONENT).to(torch.int8)


def _power(exponent: Tensor) -> Tensor:
    """2ⁿ as float64, exactly, for int64 exponents of normal numbers."""
    return ((exponent + 1023) << 52).view(torch.float64)


def store_rows(
    values: Tensor,
    codes: Tensor,
    exponents: Tensor | None,
    kind: WeightType,
    draw: Draw,
    first_row: int = 0,
    places: Tensor | None = None,
) -> None:
    """Rounds rows and stores them.

    Args:
        values: (n, D) float32, contiguous.
        codes: (n, D) of `kind.dtype`, contiguous; written.
        exponents: (n,) int8, written; None for a type without a scale.
        kind: the type.
        draw: the random numbers.
        first_row: the number of the first of these rows in its table.
        places: (n,) int64, the rows of whole tables `codes` and `exponents` that are written, instead of all; none
            is repeated.
    """
    if places is None:
        rows = np.arange(first_row, first_row + len(values), dtype=np.int64)
    else:
        rows = places.cpu().numpy()
    fast = _ROUNDING.for_table(values, codes)
    if fast is not None:
        at = rows if places is not None else rows - first_row
        fast.store(values, codes, exponents, kind, draw, rows + draw.first, at)
        return
    some = slice(None) if places is None else places
    bits = row_bits(row_keys(draw.seed, rows + draw.first, draw.number), values.shape[1], values.device)
    scaled = values.double()
    if exponents is not None:
        exponents[some] = own = row_exponents(values, kind)
        scaled *= _power(-own.to(torch.int64))[:, None]
        scaled[~values.isfinite().all(1)] = torch.nan
    integers(codes)[some] = integers(plain_round(scaled, kind, bits).float().to(kind.dtype))


def load_rows(
    codes: Tensor, exponents: Tensor | None, kind: WeightType, out: Tensor, places: Tensor | None = None
) -> Tensor:
    """Writes stored rows, those at `places` (n,) if given, to `out` (n, D) float32, contiguous, and returns it."""
    compiled = kind.scale == "row" or places is not None  # PyTorch reads a range of bfloat16 fast
    fast = _ROUNDING.for_table(out, codes) if compiled else None
    if fast is not None:
        fast.load(codes, exponents, out, np.arange(len(out)) if places is None else places.numpy())
        return out
    some = slice(None) if places is None else places
    out.copy_(integers(codes)[some].view(kind.dtype))
    if exponents is not None:
        out.mul_(_power(exponents[some].to(torch.int64))[:, None].float())
    return out


def integers(codes: Tensor) -> Tensor:
    """The codes as integers, in the same memory: torch has every operation for these, on every device."""
    codes = codes.detach()
    return codes.view(torch.uint8 if codes.element_size() == 1 else torch.int16)
