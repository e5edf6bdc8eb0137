"""AdamW on scalars: the numba implementation, inlined into the loops of compiled code.

Its operations may be reordered and fused, like those of a function compiled with `vectorized`, so that the calling
loop is vectorized.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from megalabel.kernels.core._cpu.compiling import scalar
from megalabel.kernels.updates.adam import AdamSettings


class AdamNumbers(NamedTuple):
    """The hyperparameters as float32 numbers for compiled code."""

    new_of_mean: np.float32  # 1 − β₁
    old_of_square: np.float32  # β₂
    new_of_square: np.float32  # 1 − β₂
    eps: np.float32
    keep: np.float32  # 1 − lr · weight decay


def adam_numbers(settings: AdamSettings) -> AdamNumbers:
    """The numbers of a step, each computed in double precision and rounded once."""
    beta1, beta2 = settings.betas
    return AdamNumbers(*map(np.float32, (1 - beta1, beta2, 1 - beta2, settings.eps, settings.keep)))


@scalar
def adam(gradient, mean, square, parameter, numbers, rate, over_root):
    """The moments and the parameter after one step: rate = lr / (1 − β₁ᵗ), over_root = 1 / √(1 − β₂ᵗ)."""
    mean = mean + numbers.new_of_mean * (gradient - mean)
    square = numbers.old_of_square * square + numbers.new_of_square * gradient * gradient
    parameter = numbers.keep * parameter - rate * mean / (np.sqrt(square) * over_root + numbers.eps)
    return mean, square, parameter
