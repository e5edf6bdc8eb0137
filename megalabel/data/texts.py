"""Many texts as one block of bytes: a list of strings without a Python object per string."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy as np


class Texts(Sequence[str]):
    """N texts in UTF-8, one after the other, with N + 1 int64 offsets.

    Takes the texts' own bytes and 8 more a text, where a list of `str` takes about 50 more, and is cut
    or reordered without copying characters.
    """

    __slots__ = ("_bytes", "_starts", "_stops")

    def __init__(self, data: bytes | bytearray | memoryview, starts: np.ndarray, stops: np.ndarray) -> None:
        self._bytes, self._starts, self._stops = data, starts, stops

    @classmethod
    def of(cls, texts: Iterable[str]) -> Texts:
        """Any stream of strings, read once. Lone surrogates are kept as they are."""
        if isinstance(texts, Texts):
            return texts
        data, offsets = bytearray(), [0]
        for text in texts:
            data += text.encode("utf-8", "surrogatepass")
            offsets.append(len(data))
        ends = np.asarray(offsets, dtype=np.int64)
        return cls(bytes(data), ends[:-1], ends[1:])

    def __len__(self) -> int:
        return len(self._starts)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice | np.ndarray) -> Texts: ...
    def __getitem__(self, index: int | slice | np.ndarray) -> str | Texts:
        if isinstance(index, (slice, np.ndarray)):
            return Texts(self._bytes, self._starts[index], self._stops[index])
        return self._decode(self._starts[index], self._stops[index])

    def __iter__(self) -> Iterator[str]:
        return (self._decode(a, b) for a, b in zip(self._starts, self._stops, strict=True))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(
            a == b for a, b in zip(self, other, strict=True)
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Texts({len(self)} texts, {int((self._stops - self._starts).sum())} bytes)"

    def _decode(self, start: int, stop: int) -> str:
        return bytes(self._bytes[start:stop]).decode("utf-8", "surrogatepass")
