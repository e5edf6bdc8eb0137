"""Blocks of rows in the order of the rows, grouped by range."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class BlocksByRow:
    """Blocks in groups of the same range, by ascending rows.

    Group i consists of rows starts[i] to ends[i] - 1; its members are offsets[i]:offsets[i + 1], in the order in
    which the blocks were given. Member m belongs to text texts[m], and the cell of row r is first[m] + r -
    starts[i].

    starts (G,), ends (G,), offsets (G + 1,), texts (N,), first (N,): int64.
    """

    starts: Tensor
    ends: Tensor
    offsets: Tensor
    texts: Tensor
    first: Tensor

    @classmethod
    def from_blocks(cls, starts: Tensor, ends: Tensor, texts: Tensor, first: Tensor) -> BlocksByRow:
        """Sorts N blocks (N,), with the text and the first cell of each."""
        n = len(starts)
        # No two keys are equal, so any sort keeps members of a group in order.
        bits = n.bit_length()
        keys = starts << bits | torch.arange(n, device=starts.device)
        # numpy's sort of integers is vectorized, ten times as fast as torch's.
        keys = torch.from_numpy(np.sort(keys.numpy())) if keys.device.type == "cpu" else keys.sort().values
        order = keys & ((1 << bits) - 1)
        starts, ends = keys >> bits, ends[order]
        new = torch.ones(n, dtype=torch.bool, device=starts.device)
        new[1:] = (starts[1:] != starts[:-1]) | (ends[1:] != ends[:-1])
        heads = new.nonzero()[:, 0]
        offsets = torch.cat([heads, heads.new_full((1,), n)])
        return cls(starts[heads], ends[heads], offsets, texts[order], first[order])

    def __len__(self) -> int:
        return len(self.starts)

    def rows(self) -> Tensor:
        """(U,) int64: every row that occurs, ascending if groups do not overlap."""
        lengths = self.ends - self.starts
        offset = self.starts - (lengths.cumsum(0) - lengths)
        rows = offset.repeat_interleave(lengths)
        return rows + torch.arange(len(rows), device=rows.device)
