"""Binary search and ragged rows in graphs, by operations that ONNX has."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def positions_in(ascending: Tensor, values: Tensor) -> Tensor:
    """Where each value is, if it is there: `torch.searchsorted`, which ONNX lacks, cut to 0 … n - 1.

    Args:
        ascending: (n,) integers, n at least 1.
        values: int64 of any shape.
    """
    n, flat = len(ascending), values.flatten()
    first = torch.zeros_like(flat)
    return positions_between(ascending, flat, first, first + n, n).clamp(max=n - 1).view_as(values)


def positions_between(ascending: Tensor, values: Tensor, first: Tensor, last: Tensor, most: int) -> Tensor:
    """Where each value is in its own part of a table, if it is there; else where it would be inserted.

    Args:
        ascending: (n,) integers, ascending from each first to its last, n at least 1.
        values: (m,) int64.
        first, last: (m,) int64; the part of value i is ascending[first[i] : last[i]].
        most: the size of the largest part.

    Returns:
        (m,) int64, from first[i] up to last[i].
    """
    position = first  # all before it are known to be smaller
    for step in reversed([1 << i for i in range(most.bit_length())]):
        further = torch.minimum(position + step, last)
        smaller = ascending.index_select(0, (further - 1).clamp(min=0)) < values
        position = torch.where(smaller, further, position)
    return position


def ragged(lengths: Tensor) -> tuple[Tensor, Tensor]:
    """The row and the place within it of each cell of ragged rows, row after row.

    Args:
        lengths: (m,) int64, the cells of each row, m at least 1.

    Returns:
        Rows and places, (cells,) int64. `torch.repeat_interleave` becomes a matrix of rows and cells in ONNX.
    """
    ends = lengths.cumsum(0)
    total: Any = lengths.sum().item()  # not as an int, which `torch.export` would have to know
    torch._check(total >= 0)
    begun = torch.zeros(total + 1, dtype=torch.int64).scatter_add(0, ends, torch.ones_like(ends))
    rows = begun.cumsum(0)[:total]
    return rows, torch.arange(total) - (ends - lengths).index_select(0, rows)
