"""AdamW on a tile: the Triton implementation, called by the kernels."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def adam(w, m, v, g, new_of_mean, old_of_square, new_of_square, of_mean, of_square, lr, eps, keep):
    """The parameters w and their moments m and v after one step with gradients g.

    of_mean = 1 / (1 − β₁ᵗ), of_square = 1 / (1 − β₂ᵗ), keep = 1 − lr · weight decay, new_of_mean = 1 − β₁,
    old_of_square = β₂, new_of_square = 1 − β₂. They are separate arguments because not every supported version of
    Triton accepts tuples.
    """
    m += (g - m) * new_of_mean
    v = v * old_of_square + g * g * new_of_square
    w = w * keep - lr * (m * of_mean / (tl.sqrt(v * of_square) + eps))
    return w, m, v
