"""SGD on a tile: the Triton implementation, called by the kernels."""

from __future__ import annotations

import triton
import triton.language as tl  # noqa: F401 (Triton's interpreter requires it in this module)


@triton.jit
def sgd(w, g, lr, keep):
    """The parameters w after one step with gradients g: keep = 1 − lr · weight decay."""
    return w * keep - lr * g
