"""`Texts`, many texts as one block of bytes: a list of strings without a Python object per string."""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import overload

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError

_NUMBER = re.compile(r"[+-]?\d+(?:[.,]\d+)?", re.ASCII)


def check_list(texts: object) -> None:
    """Checks that `texts` is a list of texts.

    Raises:
        SettingError: one string, or an iterator without a length.
        DataError: a sparse matrix.
    """
    if isinstance(texts, str):
        raise SettingError("one string", wanted="a list of texts", next_step="write [text] for a single text")
    if not isinstance(texts, Sized):
        raise SettingError(
            f"a {type(texts).__name__}",
            wanted="a list of texts",
            next_step="collect the texts of an iterator with list(…)",
        )
    if sp.issparse(texts):
        raise DataError(
            f"a sparse matrix of shape {getattr(texts, 'shape', ())}",
            wanted="a list of texts, since this model does not read features",
            next_step="give the texts, or train `linear` on bags of words",
            where="texts",
        )


class Texts(Sequence[str]):
    """N texts in UTF-8, one after the other, with N starts and N stops (int64 byte offsets).

    It takes 16 bytes per text besides the characters, where a list of `str` takes about 50, and slicing and
    reordering copy no characters.
    """

    __slots__ = ("__weakref__", "_bytes", "_starts", "_stops")

    def __init__(self, data: bytes | bytearray | memoryview, starts: np.ndarray, stops: np.ndarray) -> None:
        self._bytes, self._starts, self._stops = data, starts, stops

    @classmethod
    def from_strings(cls, texts: Iterable[str]) -> Texts:
        """Makes `Texts` of any stream of strings, which is read once. Halves of surrogate pairs are kept."""
        if isinstance(texts, Texts):
            return texts
        builder = TextsBuilder()
        for text in texts:
            builder.add(text)
        return builder.done()

    @classmethod
    def blank(cls, n: int) -> Texts:
        """N empty texts, for a bag-of-words file."""
        zeros = np.zeros(n, dtype=np.int64)
        return cls(b"", zeros, zeros)

    @classmethod
    def numbers(cls, n: int) -> Texts:
        """The texts "0", "1", ..., n - 1, which serve as the names of labels without names."""
        data = bytearray()
        for first in range(0, n, 65536):  # in blocks, which need no object for each of N numbers
            data += "".join(map(str, range(first, min(first + 65536, n)))).encode()
        numbers = np.arange(n, dtype=np.int64)
        lengths = np.ones(n, dtype=np.int64)
        for power in range(1, len(str(n))):
            lengths += numbers >= 10**power
        ends = np.cumsum(lengths, dtype=np.int64)
        return cls(data, ends - lengths, ends)

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
        # Python ints slice several times faster than numpy ints; blocks avoid a second list of N.
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
        """The number of UTF-8 bytes of each text: (N,) int64."""
        return np.asarray(self._stops - self._starts)

    def are_numbers(self) -> bool:
        """Whether every text is only a number, as the names of labels that have none are."""
        return all(text.isdigit() or _is_number(text.decode("utf-8", "replace")) for text in self.raw())

    @property
    def n_bytes(self) -> int:
        """The number of bytes of all texts together."""
        return int(self.lengths.sum())

    def raw(self) -> Iterator[bytes]:
        """Yields the UTF-8 bytes of each text, in order."""
        data = self._bytes
        for first in range(0, len(self), 65536):
            stops = self._stops[first : first + 65536].tolist()
            for start, stop in zip(self._starts[first : first + 65536].tolist(), stops, strict=True):
                yield bytes(data[start:stop])

    def sha256(self) -> str:
        """SHA-256 (hexadecimal) of the texts and their lengths, independent of the layout in memory."""
        total = hashlib.sha256(np.ascontiguousarray(self.lengths, dtype="<i8").tobytes())
        for text in self.raw():
            total.update(text)
        return total.hexdigest()

    def _decode(self, start: int, stop: int) -> str:
        return bytes(self._bytes[start:stop]).decode("utf-8", "surrogatepass")


class TextsBuilder:
    """Collects texts one by one into a `Texts`."""

    def __init__(self) -> None:
        self._data, self._ends = bytearray(), array("q")

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, text: str) -> None:
        """Appends one text."""
        self._data += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._data))

    def add_valid(self, text: str) -> None:
        """Appends one text; raises UnicodeEncodeError if it holds half a surrogate pair."""
        self._data += text.encode()
        self._ends.append(len(self._data))

    def done(self) -> Texts:
        """The texts so far. The builder must not be used afterwards."""
        ends = np.frombuffer(self._ends, dtype=np.int64) if self._ends else np.zeros(0, dtype=np.int64)
        starts = np.zeros_like(ends)
        starts[1:] = ends[:-1]
        return Texts(self._data, starts, ends)


def _is_number(text: str) -> bool:
    return text.isdigit() or _NUMBER.fullmatch(text) is not None
