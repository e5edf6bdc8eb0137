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
    """Scores of one chunk of rows after the other, with -inf where a pair is excluded.

    Excluded pairs are given as texts and places (rows of the table), sorted by place; those of chunk c are
    cuts[c] to cuts[c + 1].
    """

    score: Callable[[int, int], Tensor]
    n_rows: int
    n_texts: int
    chunk: int
    device: torch.device
    names: Tensor | None = None
    texts: Tensor | None = None
    places: Tensor | None = None
    cuts: list[int] | None = None

    def of_chunk(self, number: int) -> tuple[Tensor, Tensor]:
        """Scores (B, n) float32, and the labels (n,) int64 of their columns."""
        start = number * self.chunk
        stop = min(start + self.chunk, self.n_rows)
        z = self.score(start, stop).float()
        if self.texts is not None and self.places is not None and self.cuts is not None:
            a, b = self.cuts[number], self.cuts[number + 1]
            if a < b:
                z[self.texts[a:b], self.places[a:b] - start] = -torch.inf
        if self.names is None:
            return z, torch.arange(start, stop, device=self.device)
        return z, self.names[start:stop]


Select = Callable[[Scores, range, int], TopK]


def select_for(device: torch.device) -> Select:
    """Which of the two ways to select runs for scores on a device."""
    fast = _SELECT.for_device(device)
    return select_keys if fast is None else partial(select_compiled, fast)


def select_compiled(fast: Any, scores: Scores, numbers: range, k: int) -> TopK:
    """The k best of the chunks `numbers`; label -1 and score -inf where there are fewer.

    fast: `core/_cpu/select.py`.
    """
    best = torch.full((scores.n_texts, k), -torch.inf)
    labels = torch.full((scores.n_texts, k), -1, dtype=torch.int64)
    for number in numbers:
        z, names = scores.of_chunk(number)
        by_label = z.t().is_contiguous() and not z.is_contiguous()
        merge, z = (fast.merge_columns, z.t()) if by_label else (fast.merge_rows, z.contiguous())
        merge(z.numpy(), names.contiguous().numpy(), best.numpy(), labels.numpy())
    return TopK(labels, best)


def select_keys(scores: Scores, numbers: range, k: int) -> TopK:
    """The same with score and label packed into one integer, for any device."""
    best = torch.full((scores.n_texts, k), _NONE, dtype=torch.int64, device=scores.device)
    for number in numbers:
        z, names = scores.of_chunk(number)
        keys = torch.where(z > -torch.inf, pack(z, names), _NONE)  # NaN is no label either
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
