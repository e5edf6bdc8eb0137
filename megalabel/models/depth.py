"""How many labels per text are computed, and how many returned, where k labels are asked for."""

from __future__ import annotations

import numpy as np

from megalabel.errors import SettingError

MOST_PADDING = 1 << 28  # labels of all texts together that a ranking is padded to; 12 bytes each


def at_least_one(name: str, value: int) -> None:
    """SettingError unless the value is a whole number from 1 up."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise SettingError(f"{name} = {value!r}", wanted="a whole number of at least 1", where=name)


def reach(k: int, n_labels: int) -> int:
    """The number of labels that are computed where k of L are asked for: no more than there are."""
    at_least_one("k", k)
    return min(int(k), max(n_labels, 1))


def check_padding(k: int, n_labels: int, n_texts: int) -> None:
    """SettingError for a k above L whose padding alone would fill the memory."""
    if k > max(n_labels, 1000) and max(n_texts, 1) * int(k) > MOST_PADDING:
        raise SettingError(
            f"k = {k:,} of {n_labels:,} labels for {n_texts:,} texts",
            wanted=f"at most {n_labels:,}, the number of labels",
            next_step=f"give k = {n_labels}, which ranks all labels",
        )
