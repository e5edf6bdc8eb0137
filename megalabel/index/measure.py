"""Measures indexes on the user's texts: recall against scores of all labels, with its interval, and time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from megalabel.index.base import LabelIndex, LabelTable
from megalabel.types import TopK

Z = 1.96  # of a 95% interval
BATCH, SINGLE = 256, 200  # texts of a batch, and texts that are timed one by one
_SAME = 1e-5  # scores that differ by less, relative to the largest, are ties

Search = Callable[[Tensor, int], TopK]


class Measured(NamedTuple):
    """What was measured of a kind of index.

    recall: mean fraction of the k best labels of a text that were found; low and high: its 95% interval.
    texts_per_second: in batches of 256. median_ms, p99_ms: of single texts. seconds: to build it.
    megabytes: of its arrays. width: how far it searches; 0 where there is nothing to choose.
    """

    kind: str
    recall: float
    low: float
    high: float
    texts_per_second: float
    median_ms: float
    p99_ms: float
    seconds: float = 0.0
    megabytes: float = 0.0
    width: int = 0


def interval(recall: float, n: int) -> tuple[float, float]:
    """The 95% interval of a mean of n numbers from 0 to 1 (Wilson, 1927): (low, high).

    It is that of n trials with two outcomes, which vary most among such numbers, so that it is rather too wide.
    """
    middle, spread = recall + Z * Z / (2 * n), Z * np.sqrt(recall * (1 - recall) / n + Z * Z / (4 * n * n))
    whole = 1 + Z * Z / n
    return float(max(0, (middle - spread) / whole)), float(min(1, (middle + spread) / whole))


def texts_needed(recall: float) -> int:
    """The number of texts from which on the interval of a recall of 1 can lie above `recall`, which is below 1."""
    return int(np.ceil(recall * Z * Z / (1 - recall)))


def recall_of(found: TopK, exact: TopK) -> float:
    """The mean fraction of the exact k best labels that were found; labels that tie with the last one count."""
    last = exact.scores.isfinite().sum(1).clamp(min=1)
    bar = exact.scores.gather(1, last[:, None] - 1)
    slack = _SAME * exact.scores[:, :1].abs().maximum(bar.abs())
    hits = (found.scores >= bar - slack).sum(1).minimum(last)
    return float((hits / last).double().mean())


def exact_topk(table: LabelTable, x: Tensor, k: int) -> TopK:
    """The k best labels of all texts, in batches."""
    parts = [table.exact(part, k) for part in x.split(BATCH)]
    return TopK(torch.cat([part.ids for part in parts]), torch.cat([part.scores for part in parts]))


def measure(kind: str, search: Search, x: Tensor, k: int, exact: TopK) -> Measured:
    """Searches the texts x (n, D) in batches and one by one.

    Args:
        kind: what is measured.
        search: (texts, k) to their k best labels.
        x: the texts, of which as many batches are timed as are full, and one if none is.
        k: labels per text.
        exact: the result of scoring all labels.
    """
    search(x[:BATCH], k), search(x[:1], k)  # compiles, and reads what is on disk
    begun = time.perf_counter()
    parts = [search(part, k) for part in x.split(BATCH)]
    seconds = time.perf_counter() - begun
    single = []
    for i in range(min(len(x), SINGLE)):
        begun = time.perf_counter()
        search(x[i : i + 1], k)
        single.append(1e3 * (time.perf_counter() - begun))
    found = TopK(torch.cat([part.ids for part in parts]), torch.cat([part.scores for part in parts]))
    recall = recall_of(found, exact)
    median, p99 = np.percentile(single, [50, 99])
    return Measured(kind, recall, *interval(recall, len(x)), len(x) / seconds, float(median), float(p99))


def narrowest(index: LabelIndex, table: LabelTable, x: Tensor, k: int, exact: TopK, recall: float) -> LabelIndex:
    """The index with the least width whose recall is at least `recall`, by the low end of its interval.

    Where none of its widths reaches that, the largest.
    """
    for width in index.widths():
        index = index.with_width(width)
        parts = [index.topk(table, part, k) for part in x.split(BATCH)]
        found = TopK(torch.cat([part.ids for part in parts]), torch.cat([part.scores for part in parts]))
        if interval(recall_of(found, exact), len(x))[0] >= recall:
            break
    return index


def table_of(rows: list[Measured], chosen: str) -> str:
    """The measurements as a table; the chosen kind is marked with an asterisk."""
    lines = ["kind     recall (95% interval)     texts/s  one text: median   p99  built in      size"]
    for row in rows:
        mark = "*" if row.kind == chosen else " "
        between = f"{row.recall:.4f} ({row.low:.4f} to {row.high:.4f})"
        lines.append(
            f"{row.kind + mark:<8} {between:<25} {row.texts_per_second:>7,.0f} {row.median_ms:>10.2f} ms "
            f"{row.p99_ms:>8.2f} ms {row.seconds:>6.1f} s {row.megabytes:>7,.0f} MB"
        )
    return "\n".join(lines)
