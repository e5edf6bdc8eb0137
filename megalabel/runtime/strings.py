"""Strings in a mapped file, found by number or by a hash table that lies in the file too."""

from __future__ import annotations

from zlib import crc32

from .container import Container


class Strings:
    """The strings `NAME.bytes`, which end at `NAME.ends` (n,), and their hash table `NAME.slots`, if any.

    A string is at the first free slot from its CRC-32 on; slots hold its number + 1, or 0 where they are free.
    """

    def __init__(self, file: Container, name: str) -> None:
        self._file, self._name = file, name
        self._first, self._last = file.bytes_of(f"{name}.bytes")
        self._ends = file.array(f"{name}.ends", "Iq")
        self._slots = file.array(f"{name}.slots", "I") if f"{name}.slots" in file else None

    def __len__(self) -> int:
        return len(self._ends)

    def _encoded(self, number: int) -> bytes:
        first = self._ends[number - 1] if number else 0
        last = self._ends[number]
        if not 0 <= first <= last <= self._last - self._first:
            raise self._file.refused(f"the end of string {number} of {self._name!r} is damaged")
        return self._file.pages[self._first + first : self._first + last]

    def __getitem__(self, number: int) -> str:
        return self._encoded(number).decode("utf-8", "surrogatepass")

    def find(self, string: str) -> int:
        """The number of a string; −1 if it is not there."""
        slots = self._slots
        if not slots:
            return -1
        wanted, mask = string.encode("utf-8", "surrogatepass"), len(slots) - 1
        at = crc32(wanted) & mask
        for _ in range(len(slots)):
            number = slots[at]
            if not number:
                return -1
            if number <= len(self._ends) and self._encoded(number - 1) == wanted:
                return int(number) - 1
            at = (at + 1) & mask
        return -1
