"""Selects the k best labels of a range of chunks of scores, compiled for the CPU or with torch for any device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from megalabel.kernels.core.dispatch import Operation
from megalabel.types import TopK

_SELECT = Operation("megalabel.kernels.core", "select")

_NONE = torch.iinfo(torch.int64).min  # below the key of every label


@dataclass(frozen=True)
class Scores:
    """The scores of a table, computed chunk by chunk, with -inf for excluded pairs.

    Excluded pairs are given as texts and rows of the table, sorted by row; those of chunk c are
    cuts[c] to cuts[c + 1].
    """

    score: Callable[[int, int], Tensor]
    n_rows: int
    n_texts: int
    chunk: int
    device: torch.device
    row_to_label: Tensor | None = None
    excluded_texts: Tensor | None = None
    excluded_rows: Tensor | None = None
    cuts: list[int] | None = None

    def of_chunk(self, number: int) -> tuple[Tensor, Tensor]:
        """Scores (B, n) float32, and the labels (n,) int64 of their columns."""
        start = number * self.chunk
        stop = min(start + self.chunk, self.n_rows)
        z = self.score(start, stop).float()
        if self.excluded_texts is not None and self.excluded_rows is not None and self.cuts is not None:
            a, b = self.cuts[number], self.cuts[number + 1]
            if a < b:
                z[self.excluded_texts[a:b], self.excluded_rows[a:b] - start] = -torch.inf
        if self.row_to_label is None:
            return z, torch.arange(start, stop, device=self.device)
        return z, self.row_to_label[start:stop]


Select = Callable[[Scores, range, int], TopK]


def select_for(device: torch.device) -> Select:
    """The selection that runs for scores on a device."""
    fast = _SELECT.for_device(device)
    return select_keys if fast is None else partial(select_compiled, fast)


def select_compiled(fast: Any, scores: Scores, numbers: range, k: int) -> TopK:
    """The k best of the chunks `numbers`; label -1 and score -inf where there are fewer.

    fast: `core/_cpu/select.py`.
    """
    best = torch.full((scores.n_texts, k), -torch.inf)
    labels = torch.full((scores.n_texts, k), -1, dtype=torch.int64)
    for number in numbers:
        z, column_labels = scores.of_chunk(number)
        by_label = z.t().is_contiguous() and not z.is_contiguous()
        merge, z = (fast.merge_columns, z.t()) if by_label else (fast.merge_rows, z.contiguous())
        merge(z.numpy(), column_labels.contiguous().numpy(), best.numpy(), labels.numpy())
    return TopK(labels, best)


def select_keys(scores: Scores, numbers: range, k: int) -> TopK:
    """The same with score and label packed into one integer, for any device."""
    best = torch.full((scores.n_texts, k), _NONE, dtype=torch.int64, device=scores.device)
    for number in numbers:
        z, column_labels = scores.of_chunk(number)
        keys = torch.where(z > -torch.inf, pack(z, column_labels), _NONE)  # NaN is left out too
        best = torch.cat([best, keys.topk(min(k, z.shape[1]), dim=1).values], dim=1).topk(k, dim=1).values
    values, labels = unpack(best)
    nothing = best == _NONE
    return TopK(labels.masked_fill(nothing, -1), values.masked_fill(nothing, -torch.inf))


def pack(scores: Tensor, labels: Tensor) -> Tensor:
    """One int64 for each float32 score and label below 2³²: greater score first, then lower label."""
    bits = (scores + 0.0).view(torch.int32).to(torch.int64)  # adding 0 makes −0 equal 0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)  # negative floats count backwards
    return (ordered << 32) | (0xFFFFFFFF - labels)


def unpack(keys: Tensor) -> tuple[Tensor, Tensor]:
    """Scores float32 and labels int64 of packed keys."""
    ordered = keys >> 32
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).to(torch.int32)
    return bits.view(torch.float32), 0xFFFFFFFF - (keys & 0xFFFFFFFF)
