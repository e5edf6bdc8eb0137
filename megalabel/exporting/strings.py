"""Lists of strings as arrays, with a hash table for those that are looked up."""

from __future__ import annotations

from collections.abc import Iterable
from zlib import crc32

import numpy as np


def string_arrays(name: str, strings: Iterable[str], *, found: bool = False) -> dict[str, np.ndarray]:
    """The arrays that `megalabel.runtime.strings.Strings` reads.

    Args:
        name: what their names begin with.
        strings: the strings; all different if they are looked up.
        found: whether they are looked up.
    """
    encoded = [string.encode("utf-8", "surrogatepass") for string in strings]
    ends = np.cumsum([len(string) for string in encoded], dtype=np.int64)
    short = len(ends) == 0 or ends[-1] < 1 << 32
    arrays = {
        f"{name}.bytes": np.frombuffer(b"".join(encoded), dtype=np.uint8),
        f"{name}.ends": ends.astype(np.uint32) if short else ends,
    }
    if found:
        arrays[f"{name}.slots"] = _slots(encoded)
    return arrays


def _slots(encoded: list[bytes]) -> np.ndarray:
    """Number + 1 of the string in each slot, at most half of which are in use; 0 in the others."""
    size = 1 << max(2 * len(encoded) - 1, 1).bit_length()
    slots, mask = [0] * size, size - 1
    for number, string in enumerate(encoded, 1):
        at = crc32(string) & mask
        while slots[at]:
            at = (at + 1) & mask
        slots[at] = number
    return np.array(slots, dtype=np.uint32)
