"""Filter pairs (row, label), made ready to be left out batch by batch."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from megalabel.errors import SettingError
from megalabel.types import Positives

if TYPE_CHECKING:
    from megalabel.data.corpus import Split


class FilterPairs:
    """Pairs (row, label) that a prediction leaves out, sorted by row, so that each batch finds its own.

    Args:
        pairs: (F, 2) integers in any order, rows from 0 to n − 1; None or an empty array for no pairs.
        n: how many rows (texts) there are.

    Raises:
        SettingError: pairs of another shape or type, or of rows or labels that cannot be.
    """

    def __init__(self, pairs: np.ndarray | None, n: int) -> None:
        if pairs is None or len(pairs) == 0:
            pairs = np.empty((0, 2), dtype=np.int64)
        pairs = np.asarray(pairs)
        _check(pairs, n)
        pairs = pairs.astype(np.int64, copy=False)
        pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
        self._starts = np.searchsorted(pairs[:, 0], np.arange(n + 1))  # where the pairs of each row begin
        self._labels = pairs[:, 1]

    def __len__(self) -> int:
        return len(self._labels)

    def for_rows(self, rows: np.ndarray, device: torch.device) -> Positives | None:
        """The pairs of some rows (B,), in any order, each row replaced by its place in `rows`.

        None if there are no pairs at all, of whichever rows.
        """
        if not len(self):
            return None
        starts, stops = self._starts[rows], self._starts[rows + 1]
        parts = [self._labels[start:stop] for start, stop in zip(starts, stops, strict=True)]
        labels = np.concatenate(parts) if parts else self._labels[:0]
        places = np.repeat(np.arange(len(rows)), stops - starts)
        return Positives.from_pairs(torch.from_numpy(places), torch.from_numpy(labels)).to(device)

    def block(self, start: int, stop: int) -> np.ndarray | None:
        """The pairs (F, 2) of rows start … stop − 1, counted from start; None if there are no pairs at all."""
        if not len(self):
            return None
        rows = np.repeat(np.arange(stop - start), np.diff(self._starts[start : stop + 1]))
        return np.stack([rows, self._labels[self._starts[start] : self._starts[stop]]], axis=1)


def _check(pairs: np.ndarray, n: int) -> None:
    shaped = pairs.dtype.kind in "iu" and pairs.ndim == 2 and pairs.shape[1] == 2
    if shaped and (len(pairs) == 0 or (pairs.min() >= 0 and pairs[:, 0].max() < n)):
        return
    found = f", rows up to {pairs[:, 0].max()}, least number {pairs.min()}" if shaped else ""
    raise SettingError(
        f"exclude of shape {pairs.shape} and dtype {pairs.dtype}{found}",
        wanted=f"(F, 2) integer pairs (row, label) with rows below {n}",
        next_step="give the filter that belongs to these texts",
    )


def filter_of(split: Split, rows: np.ndarray) -> np.ndarray | None:
    """The filter pairs of some rows (n,) of a side, with each row's place in `rows`: (F, 2) int64, or None."""
    if split.filter is None:
        return None
    place = np.full(len(split), -1)
    place[rows] = np.arange(len(rows))
    where = place[split.filter[:, 0]]
    pairs: np.ndarray = np.stack([where, split.filter[:, 1]], axis=1)[where >= 0]
    return pairs
