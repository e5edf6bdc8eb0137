"""Random initial weights, written a block at a time where they are on disk: the same numbers as at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from megalabel.storage.mapped_weights import are_weights_mapped
from megalabel.storage.tables import is_mapped, release_pages

# torch draws normal deviates in groups of 16; blocks of whole groups thus continue its random stream.
BLOCK = 1 << 22
PIECE = 1 << 16  # numbers of a whole table that are in memory at a time while a part of it is filled


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


@torch.no_grad()
def filled_part(
    weight: Tensor, n_rows: int, first: int, fill: Callable[[Tensor], Tensor], generator: torch.Generator | None
) -> Tensor:
    """Fills the rows of a table from `first` on as `filled` fills them within all of it; the others are drawn too.

    So the random stream continues after it as after the whole table, of which only a block is in memory at a time.
    Numbers of other rows take 2 to 3 ns each.

    Args:
        weight: (n, D), contiguous.
        n_rows: the rows of the whole table.
        first: the number of the first of these rows in it.
        fill: draws the numbers of a part in place.
        generator: that of `fill`.
    """
    flat, width = weight.detach().view(-1), weight.shape[1]
    total, begin = n_rows * width, first * width
    end, n_blocks = begin + flat.numel(), max(1, total // PIECE)
    for i in range(n_blocks):
        start, stop = i * PIECE, total if i == n_blocks - 1 else (i + 1) * PIECE
        low, high = max(start, begin), min(stop, end)
        if low >= high:
            skip(stop - start, fill, generator)
        else:
            flat[low - begin : high - begin] = fill(torch.empty(stop - start))[low - start : high - start]
            release_pages()
    return weight


def skip(n: int, fill: Callable[[Tensor], Tensor], generator: torch.Generator | None) -> None:
    """Advances the random stream as `fill` of n numbers does."""
    if n % 16:
        fill(torch.empty(n))
    else:  # one draw per number, of normal deviates as of uniform ones, which are made faster
        torch.empty(n).uniform_(generator=generator)


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
