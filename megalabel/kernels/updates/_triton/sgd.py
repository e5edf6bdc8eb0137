"""SGD's step on a tile: the one Triton form, called by the kernels."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 (Triton's interpreter requires it in this module)


@triton.jit
def sgd(w, g, lr, keep):
    """What one step makes of parameters w: keep = 1 − lr · weight decay."""
    return w * keep - lr * g
