"""Writes and reads the levels of a search as memory-mapped arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from megalabel.errors import SettingError
from megalabel.kernels.search.arrays import Level
from megalabel.kernels.search.label_search import LabelSearch


def save_levels(folder: Path, search: LabelSearch) -> dict[str, Any]:
    """Writes the arrays as level0-codes.npy, …; returns the number of levels and the beams."""
    for i, level in enumerate(search.levels):
        for name, array in level._asdict().items():
            np.save(folder / f"level{i}-{name}.npy", array)
    return {"levels": len(search.levels), "beams": list(search.beams)}


def level_files(n_levels: int) -> list[str]:
    """The names of the files of a search with so many levels."""
    return [f"level{i}-{name}.npy" for i in range(n_levels) for name in Level._fields]


def load_levels(folder: Path, facts: dict[str, Any], dim: int) -> LabelSearch:
    """Reads what `save_levels` wrote; raises the errors of numpy and `LabelSearch` if it is damaged."""
    n_levels = facts["levels"]
    if not isinstance(n_levels, int) or not 1 <= n_levels <= 8:
        raise SettingError(f"{n_levels!r:.40} levels", wanted="1 to 8", where="levels")
    levels = []
    for i in range(n_levels):
        names = [f"level{i}-{name}.npy" for name in Level._fields]
        levels.append(Level(*(np.load(folder / name, mmap_mode="r", allow_pickle=False) for name in names)))
    return LabelSearch(levels, facts["beams"], dim)
