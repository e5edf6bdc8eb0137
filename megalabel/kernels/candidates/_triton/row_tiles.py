"""Divides groups of rows into the tiles and strips that the programs of `row_step.py` process."""

from __future__ import annotations

import torch
import triton
from torch import Tensor

from megalabel.kernels.candidates.row_groups import RowGroups

# Rows of a tile, which share each load of a view. Clusters have about 8 children, the last cluster often fewer.
TILE_HEIGHT = 4


def tiles_of(weight: Tensor, groups: RowGroups) -> tuple[list[Tensor], int, int, int]:
    """The tensors of groups that the kernels read, the numbers of tiles and strips, and the width of a strip.

    The table of tiles is (tiles, 5) int64: first row, end and start of the group, start and end of its members.
    A member is a pair of int64: its text and its first cell.
    """
    starts, ends, offsets = groups.starts, groups.ends, groups.offsets
    counts = (ends - starts + (TILE_HEIGHT - 1)) // TILE_HEIGHT
    tiles = int(counts.sum())
    group = torch.arange(len(groups), device=counts.device).repeat_interleave(counts, output_size=tiles)
    within = torch.arange(tiles, device=counts.device) - (counts.cumsum(0) - counts)[group]
    own = torch.stack([ends, starts, offsets[:-1], offsets[1:]], 1)[group]
    table = torch.cat([(starts[group] + within * TILE_HEIGHT)[:, None], own], 1)
    dim = weight.shape[1]
    # 4 columns per thread. Strips of 128 if the last strip of 256 would be at most half full, as at D = 384.
    width = max(32, triton.next_power_of_2(dim)) if dim <= 128 else 128 if triton.cdiv(dim, 128) % 2 else 256
    members = torch.stack([groups.texts, groups.first], 1)
    inputs = [table, groups.views.contiguous(), groups.cells.contiguous(), members]
    return inputs, tiles, triton.cdiv(dim, width), width


def copy_back(wanted: list[Tensor], have: list[Tensor | None]) -> None:
    """Copies results back to tensors that are not contiguous, such as a bias that is a column of a matrix."""
    for x, y in zip(wanted, have, strict=False):
        if y is not None and not x.is_contiguous():
            x.copy_(y)
