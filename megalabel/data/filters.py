"""Filter pairs (row, label), made ready to be left out batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from megalabel.errors import SettingError
from megalabel.types import Positives

if TYPE_CHECKING:
    from megalabel.data.corpus import Split


def by_row(pairs: np.ndarray | None, n: int) -> tuple[np.ndarray, np.ndarray] | None:
    """Pairs sorted by row, with the place where each row's begin."""
    if pairs is None or len(pairs) == 0:
        return None
    pairs = np.asarray(pairs)
    if (
        pairs.dtype.kind not in "iu"
        or pairs.ndim != 2
        or pairs.shape[1] != 2
        or pairs.min() < 0
        or pairs[:, 0].max() >= n
    ):
        raise SettingError(
            f"exclude of shape {pairs.shape} and dtype {pairs.dtype}{_from_to(pairs)}",
            wanted=f"(F, 2) integer pairs (row, label) with rows below {n}",
            next_step="give the filter that belongs to these texts",
        )
    pairs = pairs.astype(np.int64, copy=False)
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    return np.searchsorted(pairs[:, 0], np.arange(n + 1)), pairs[:, 1]


def _from_to(pairs: np.ndarray) -> str:
    if pairs.dtype.kind not in "iu" or pairs.ndim != 2 or pairs.size == 0:
        return ""
    return f", rows up to {pairs[:, 0].max()}, least number {pairs.min()}"


def excluded(
    forbidden: tuple[np.ndarray, np.ndarray] | None, rows: np.ndarray, device: torch.device
) -> Positives | None:
    """The pairs of some rows (B,), their rows counted within the batch; `forbidden` is from `by_row`."""
    if forbidden is None:
        return None
    starts, labels = forbidden
    counts = starts[rows + 1] - starts[rows]
    here = np.concatenate([labels[starts[r] : starts[r + 1]] for r in rows]) if len(rows) else labels[:0]
    where = np.repeat(np.arange(len(rows)), counts)
    return Positives.of(torch.from_numpy(where), torch.from_numpy(here)).to(device)


def between(forbidden: tuple[np.ndarray, np.ndarray] | None, start: int, stop: int) -> np.ndarray | None:
    """The pairs (row, label) of rows from start to stop, counted from start; `forbidden` is from `by_row`."""
    if forbidden is None:
        return None
    starts, labels = forbidden
    rows = np.repeat(np.arange(stop - start), np.diff(starts[start : stop + 1]))
    return np.stack([rows, labels[starts[start] : starts[stop]]], axis=1)


def filter_of(split: Split, rows: np.ndarray) -> np.ndarray | None:
    """The filter pairs of some rows (n,) of a side, with each row's place in `rows`: (F, 2) int64, or None."""
    if split.filter is None:
        return None
    place = np.full(len(split), -1)
    place[rows] = np.arange(len(rows))
    where = place[split.filter[:, 0]]
    return np.stack([where, split.filter[:, 1]], axis=1)[where >= 0]
