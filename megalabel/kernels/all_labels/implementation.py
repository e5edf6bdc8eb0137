"""Chooses the implementation of a pass over all labels: the plain one, or Triton's on a GPU.

The plain pass runs on every device and in every dtype. Triton's takes float32 and narrow weights, and embeddings
in float32, bfloat16 or float16. Both offer `value` and `gradients` with the same arguments.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from megalabel.kernels.all_labels import label_pass
from megalabel.kernels.all_labels.label_pass import Chunks
from megalabel.kernels.core.dispatch import Operation
from megalabel.kernels.rounding.narrow_table import NarrowTable

_PASS = Operation(__package__, "label_pass", ("triton",))
_TOPK = Operation(__package__, "streaming_topk", ("triton",))
_PRODUCTS = (torch.float32, torch.bfloat16, torch.float16)


def pass_for(x: Tensor, weight: Tensor | NarrowTable) -> Any:
    """The module whose `value` and `gradients` run for embeddings x (B, D), in the dtype of the products."""
    fast = _PASS.for_device(x.device) if _readable(x, weight) else None
    return label_pass if fast is None else fast


def chunks_for(body: Any, x: Tensor, weight: Tensor | NarrowTable, size: int | None) -> Chunks:
    """The chunks of labels that a pass processes one after the other; size None to let the pass choose."""
    n_labels, dim = weight.shape
    if size is None and body is not label_pass:
        size = body.chunk_size(x, weight)
    return Chunks.for_shape(n_labels, dim, x.shape[0], x.device, size)


def topk_for(x: Tensor, weight: Tensor | NarrowTable, k: int) -> Any | None:
    """The module that finds the k best of float32 scores without writing them; None for chunks of scores."""
    if x.dtype != torch.float32 or not _readable(x, weight):
        return None
    fast = _TOPK.for_device(x.device)
    return None if fast is None or k > fast.MOST else fast


def _readable(x: Tensor, weight: Tensor | NarrowTable) -> bool:
    """Whether kernels can read the weights: contiguous, of a known type, on the device of x; x is not empty."""
    if isinstance(weight, NarrowTable):
        known = weight.exponents is None or weight.exponents.is_contiguous()
    else:
        known = weight.dtype == torch.float32 and weight.is_contiguous()
    return known and x.numel() > 0 and x.dtype in _PRODUCTS and weight.device == x.device
