"""The largest absolute value among the tensors of a module, also where they are narrow or on disk."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from megalabel.storage.tables import is_mapped, release_pages

_PIECE = 16 << 20  # numbers of a tensor on disk that are read at once


@torch.no_grad()
def largest_of(module: nn.Module) -> tuple[float, str]:
    """The largest absolute value in the floating-point tensors of a module, and the first that is not finite.

    Returns:
        The value, infinite where there is a tensor with NaN or infinite numbers; and the name of such a tensor, ""
        where there is none.
    """
    largest = 0.0
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point() and tensor.numel():
            for part in _pieces(tensor):
                if part.dtype == torch.float8_e4m3fn:
                    part = _largest_code(part)
                low, high = (float(value) for value in torch.aminmax(part))
                if not (math.isfinite(low) and math.isfinite(high)):
                    return math.inf, name
                largest = max(largest, -low, high)
    return largest, ""


def _pieces(tensor: Tensor) -> Iterator[Tensor]:
    """The tensor itself, or blocks of one that is on disk."""
    if not is_mapped(tensor):
        yield tensor
        return
    for part in tensor.detach().view(-1).split(_PIECE):
        yield part
        release_pages()


def _largest_code(tensor: Tensor) -> Tensor:
    """The largest absolute value of float8 numbers, NaN if there is one; torch has no reductions for them."""
    # Sizes are in the order of the bits without the sign, and NaN has the largest.
    blocks = [(block & 0x7F).max() for block in tensor.detach().reshape(-1).view(torch.uint8).split(1 << 22)]
    return torch.stack(blocks).max().view(torch.float8_e4m3fn).float()
