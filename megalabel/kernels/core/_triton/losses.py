"""Losses of a tile of logits for Triton: value and gradient, in float32.

The target is subtracted before anything is rounded: the gradient of the binary cross-entropy at a positive,
σ(z) − 1, is computed as −σ(−z), so that nothing cancels. A logit that is NaN or infinite reaches value and
gradient, where it is detected: `tl.maximum` drops NaN, which −z y brings back in the cross-entropy, and the
squared hinge does without it.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def log1p_up_to_1(e):
    """log(1 + e) for e in [0, 1] as 2 artanh(e / (2 + e)), exact to float32; tl.log(1 + e) is inexact near 0."""
    s = e / (2.0 + e)
    t = s * s
    series = 1.0 / 13 + t * (1.0 / 15)
    series = 1.0 / 9 + t * (1.0 / 11 + t * series)
    series = 1.0 / 5 + t * (1.0 / 7 + t * series)
    return 2.0 * s * (1.0 + t * (1.0 / 3 + t * series))


@triton.jit
def bce_value(z, y):
    """softplus(z) − y z for targets y of 0 or 1."""
    return tl.maximum(z, 0.0) - z * y + log1p_up_to_1(tl.exp(-tl.abs(z)))


@triton.jit
def bce_gradient(z, y):
    """σ(z) − y for targets y of 0 or 1."""
    e = tl.exp(-tl.abs(z))
    up = (z >= 0) != (y > 0)
    return tl.where(up, 1.0, e) / (1.0 + e) * tl.where(y > 0, -1.0, 1.0)


@triton.jit
def hinge_value(z, y):
    """max(0, 1 − s z)² with s = 2 y − 1."""
    margin = 1.0 - (2.0 * y - 1.0) * z
    margin = tl.where(margin <= 0, 0.0, margin)
    return margin * margin


@triton.jit
def hinge_gradient(z, y):
    """−2 s max(0, 1 − s z) with s = 2 y − 1."""
    sign = 2.0 * y - 1.0
    margin = 1.0 - sign * z
    return -2.0 * sign * tl.where(margin <= 0, 0.0, margin)
