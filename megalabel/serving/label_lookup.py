"""Finds the ids of labels by their exact names, without an object per label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np


class LabelLookup:
    """The ids of L labels by name; 12 bytes per label.

    Args:
        names: the names.
    """

    def __init__(self, names: Sequence[str]) -> None:
        self._names = names
        hashes = np.fromiter((hash(name) for name in names), np.int64, len(names))
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._ids = hashes[order], order.astype(np.int32)

    def ids(self, name: str) -> list[int]:
        """The ids of all labels with a name, ascending; [] where no label has it."""
        wanted = hash(name)
        low, high = (int(np.searchsorted(self._hashes, wanted, side)) for side in ("left", "right"))
        return [i for i in self._ids[low:high].tolist() if self._names[i] == name]

    def all_ids(self, names: Iterable[str]) -> tuple[list[int], list[str]]:
        """The ids of all labels with one of some names, and the names that no label has."""
        found: list[int] = []
        unknown: list[str] = []
        for name in names:
            ids = self.ids(name)
            found += ids
            if not ids:
                unknown.append(name)
        return found, unknown
