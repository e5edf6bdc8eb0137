"""Filter pairs (row, label), indexed so that each batch can look up its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from megalabel.errors import SettingError
from megalabel.types import Positives

if TYPE_CHECKING:
    import torch

    from megalabel.data.types import Split


class FilterPairs:
    """Pairs (row, label) that are left out of predictions, sorted by row.

    Args:
        pairs: (F, 2) integers in any order, rows from 0 to n − 1; None or an empty array for no pairs.
        n: number of rows (texts).

    Raises:
        SettingError: pairs have another shape or type, or rows or labels are out of range.
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

    def for_rows(self, rows: np.ndarray, device: torch.device | str) -> Positives | None:
        """The pairs of some rows (B,), in any order, each row replaced by its position in `rows`.

        None if there are no pairs for any row.
        """
        if not len(self):
            return None
        import torch

        starts, stops = self._starts[rows], self._starts[rows + 1]
        parts = [self._labels[start:stop] for start, stop in zip(starts, stops, strict=True)]
        labels = np.concatenate(parts) if parts else self._labels[:0]
        positions = np.repeat(np.arange(len(rows)), stops - starts)
        return Positives.from_pairs(torch.from_numpy(positions), torch.from_numpy(labels)).to(device)

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
        next_step="use the filter of the split of these texts",
    )


def filter_of(split: Split, rows: np.ndarray) -> np.ndarray | None:
    """The filter pairs of some rows (n,) of a split, with each row's position in `rows`: (F, 2) int64, or None."""
    if split.filter is None:
        return None
    position = np.full(len(split), -1)
    position[rows] = np.arange(len(rows))
    found = position[split.filter[:, 0]]
    pairs: np.ndarray = np.stack([found, split.filter[:, 1]], axis=1)[found >= 0]
    return pairs
