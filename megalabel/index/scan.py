"""The index `int8`: scores every label with 8-bit integers, and proves that no better label was left out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from megalabel.index.base import LabelIndex, LabelTable
from megalabel.index.levels import load_levels, save_levels
from megalabel.kernels.search.groups import group_level
from megalabel.kernels.search.label_search import LabelSearch

SPARE = 64  # candidates beyond k, so that the last one is clearly below the k-th best
_ROUNDING = 2e-5  # of float32 sums, relative to the largest score


class ScanIndex(LabelIndex):
    """Exact: the labels and scores of the head, up to the rounding of float32.

    The search ranks labels by an upper bound of their scores (`kernels/search/label_search.py`). If the k-th best
    score of the candidates is above the lowest bound among them, no other label can be better; otherwise `topk`
    scores every label in float32.
    """

    kind = "int8"

    def __init__(self, search: LabelSearch, shape: tuple[int, int], depth: int) -> None:
        super().__init__(shape, depth)
        self.search = search

    @classmethod
    def build(cls, table: LabelTable, depth: int) -> ScanIndex:
        """Stores all labels as 8-bit integers."""
        n, dim = table.weight.shape
        chunks = np.array([0, n], np.int64)
        level = group_level(table.rows, table.biases(), chunks, np.arange(n), dim)
        return cls(LabelSearch([level], [], dim), (n, dim), depth)

    def candidates(self, x: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray | None]:
        """The labels of the highest bounds, and the lowest of these bounds."""
        room = min(k + SPARE, self.shape[0])
        ids, bounds = self.search(x, room)
        if room == self.shape[0]:
            return ids, None
        largest = np.abs(bounds).max(axis=1)
        return ids, bounds[:, -1] + np.float32(_ROUNDING) * largest

    def widths(self) -> list[int]:
        """None: it is exact."""
        return []

    def with_width(self, width: int) -> ScanIndex:
        """Itself."""
        return self

    def save_files(self, folder: Path) -> dict[str, Any]:
        """See `LabelIndex.save_files`."""
        return save_levels(folder, self.search)

    @classmethod
    def load_files(cls, folder: Path, facts: dict[str, Any], shape: tuple[int, int], depth: int) -> ScanIndex:
        """See `LabelIndex.load_files`."""
        return cls(load_levels(folder, facts, shape[1]), shape, depth)
