"""SGD on a tile: the Triton implementation, called by the kernels."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def sgd(w, g, lr, keep):
    """The parameters w after one step with gradients g: keep = 1 − lr · weight decay."""
    return w * keep - lr * g


@triton.jit
def gathered(m, g, kept):
    """The buffer m with the gradients g of a micro-batch: kept · m + g, without what m held if kept is 0."""
    return tl.where(kept == 0, 0.0, m * kept) + g


@triton.jit
def momentum(w, m, lr, decay):
    """The parameters w and their buffer m after one step; m holds momentum · m + gradient, and gets the decay."""
    m = m + decay * w
    return w - lr * m, m
