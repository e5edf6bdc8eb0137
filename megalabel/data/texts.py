"""Many texts as one block of bytes: a list of strings without a Python object per string."""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import overload

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError


def check_list(texts: object) -> None:
    """SettingError for one string, or what has no length, in place of a list of texts; DataError for a matrix."""
    if isinstance(texts, str):
        raise SettingError("one string", wanted="a list of texts", next_step="write [text]")
    if not isinstance(texts, Sized):
        raise SettingError(
            f"a {type(texts).__name__}",
            wanted="a list of texts",
            next_step="write list(…) around what yields texts",
        )
    if sp.issparse(texts):
        raise DataError(
            f"a sparse matrix of shape {getattr(texts, 'shape', ())}",
            wanted="a list of texts: the model reads no features",
            next_step="give the texts themselves, or train `linear` on bags of words",
            where="texts",
        )


class Texts(Sequence[str]):
    """N texts in UTF-8, one after the other, with N starts and N stops (int64 byte offsets).

    Takes the texts' own bytes and 16 more a text, where a list of `str` takes about 50 more, and is cut
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
        builder = TextsBuilder()
        for text in texts:
            builder.add(text)
        return builder.done()

    @classmethod
    def blank(cls, n: int) -> Texts:
        """N empty texts: what a bag-of-words file has."""
        zeros = np.zeros(n, dtype=np.int64)
        return cls(b"", zeros, zeros)

    @classmethod
    def numbers(cls, n: int) -> Texts:
        """The texts "0", "1", ... up to n - 1: the names of labels that have none."""
        digits = np.char.mod("%d", np.arange(n)) if n else np.zeros(0, dtype="U1")
        ends = np.cumsum(np.char.str_len(digits), dtype=np.int64)
        return cls("".join(digits.tolist()).encode(), np.concatenate([[0], ends[:-1]])[:n].astype(np.int64), ends)

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
        # Python ints slice several times faster than numpy's; in steps, so that no second list of N is held.
        for first in range(0, len(self), 65536):
            stops = self._stops[first : first + 65536].tolist()
            for start, stop in zip(self._starts[first : first + 65536].tolist(), stops, strict=True):
                yield self._decode(start, stop)

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, Sequence)
            and len(self) == len(other)
            and all(a == b for a, b in zip(self, other, strict=True))
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Texts({len(self)} texts, {self.n_bytes} bytes)"

    @property
    def lengths(self) -> np.ndarray:
        """Bytes of each text in UTF-8, (N,) int64."""
        return np.asarray(self._stops - self._starts)

    @property
    def n_bytes(self) -> int:
        """Bytes of all texts together."""
        return int(self.lengths.sum())

    def raw(self) -> Iterator[bytes]:
        """Each text's UTF-8 bytes, in order."""
        data = self._bytes
        for first in range(0, len(self), 65536):
            stops = self._stops[first : first + 65536].tolist()
            for start, stop in zip(self._starts[first : first + 65536].tolist(), stops, strict=True):
                yield bytes(data[start:stop])

    def sha256(self) -> str:
        """SHA-256 of the texts and their borders, whatever the layout in memory (hexadecimal)."""
        total = hashlib.sha256(np.ascontiguousarray(self.lengths, dtype="<i8").tobytes())
        for text in self.raw():
            total.update(text)
        return total.hexdigest()

    def _decode(self, start: int, stop: int) -> str:
        return bytes(self._bytes[start:stop]).decode("utf-8", "surrogatepass")


class TextsBuilder:
    """Takes texts one by one and makes a `Texts` of them."""

    def __init__(self) -> None:
        self._data, self._ends = bytearray(), array("q")

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, text: str) -> None:
        """Appends one text."""
        self._data += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._data))

    def add_valid(self, text: str) -> None:
        """Appends one text, or raises UnicodeEncodeError if it holds half a surrogate pair."""
        self._data += text.encode()
        self._ends.append(len(self._data))

    def done(self) -> Texts:
        """The texts so far. The builder is not to be used afterwards."""
        ends = np.frombuffer(self._ends, dtype=np.int64) if self._ends else np.zeros(0, dtype=np.int64)
        starts = np.zeros_like(ends)
        starts[1:] = ends[:-1]
        return Texts(self._data, starts, ends)
