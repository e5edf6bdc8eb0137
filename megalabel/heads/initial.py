"""Random initial weights, written a block at a time where they are on disk: the same numbers as at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from megalabel.storage.mapped_weights import are_weights_mapped
from megalabel.storage.tables import is_mapped, release_pages

# torch draws normal deviates in groups of 16; blocks of whole groups thus continue its random stream.
BLOCK = 1 << 22


@torch.no_grad()
def filled(weight: Tensor, fill: Callable[[Tensor], Tensor]) -> Tensor:
    """Fills a contiguous tensor by `fill`, which draws the numbers of a part in place, and returns it.

    Where a model is loaded whose weights stay in their file, nothing is filled, so that no memory is used.
    """
    if are_weights_mapped():
        return weight
    for part in _parts(weight):
        fill(part)
    return weight


def uniform_(weight: Tensor, limit: float, generator: torch.Generator | None = None) -> Tensor:
    """Fills a contiguous tensor with numbers that are uniform between -limit and limit, and returns it."""
    return filled(weight, lambda part: part.uniform_(-limit, limit, generator=generator))


def _parts(weight: Tensor) -> Iterator[Tensor]:
    """The tensor itself, or blocks of one that is on disk; the last one is at least as long as the others."""
    if not is_mapped(weight):
        yield weight
        return
    flat = weight.detach().view(-1)
    n = max(1, flat.numel() // BLOCK)
    for i in range(n):
        yield flat[i * BLOCK : None if i == n - 1 else (i + 1) * BLOCK]
        release_pages()
