"""`Texts`, many texts as one block of bytes: a list of strings without a Python object per string.

Blocks of more than 64 MiB lie in a temporary file, see `megalabel.storage.spill`, so that the memory that a data
set takes does not grow with the length of its texts.
"""

from __future__ import annotations

import hashlib
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import overload

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError, of_type
from megalabel.storage.spill import Block, Spill, forget

_PART = 4096  # texts that are read between two releases of mapped pages, if they are short
_RELEASE = 16 << 20  # bytes of longer texts between them
_FEW = 64  # texts that are looked for one by one
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
            of_type(texts),
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
    reordering copy no characters. The characters are in memory, or in a file that is mapped to be read.
    """

    __slots__ = ("__weakref__", "_bytes", "_read", "_starts", "_stops")

    def __init__(self, data: Block, starts: np.ndarray, stops: np.ndarray) -> None:
        self._bytes, self._starts, self._stops, self._read = data, starts, stops, 0

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
    def joined(cls, *parts: Texts) -> Texts:
        """The texts of several `Texts`, one after the other; bytes that they share with others are copied too."""
        data, starts, stops = Spill(), [], []
        for part in parts:
            starts.append(part._starts + len(data))
            stops.append(part._stops + len(data))
            data.append(part._bytes)
        return cls(data.block(), np.concatenate(starts), np.concatenate(stops))

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
        self._read += 1
        if self._read % 256 == 0:  # each may have mapped 64 kB around it
            forget(self._bytes)
        return self._decode(self._starts[index], self._stops[index])

    def __iter__(self) -> Iterator[str]:
        for part in self._parts():
            for start, stop in part:
                yield self._decode(start, stop)

    def __reduce__(self) -> tuple[type[Texts], tuple[Block, np.ndarray, np.ndarray]]:
        ends = np.cumsum(self.lengths, dtype=np.int64)  # a map cannot be pickled
        return Texts, (b"".join(self.raw()), ends - self.lengths, ends)

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
        for part in self._parts():
            for start, stop in part:
                yield bytes(data[start:stop])

    def positions(self, wanted: Iterable[str]) -> dict[str, np.ndarray]:
        """Where some texts stand, by the text: (n,) int64, ascending. Those that do not occur are left out.

        Few of them are compared byte by byte with all texts of their lengths at once, many with each text.
        """
        by_bytes = {text.encode("utf-8", "surrogatepass"): text for text in wanted}
        if len(by_bytes) <= _FEW:
            found = {text: self._equal(data) for data, text in by_bytes.items()}
            return {text: at for text, at in found.items() if len(at)}
        places: dict[str, list[int]] = {}
        for i, data in enumerate(self.raw()):
            if data in by_bytes:
                places.setdefault(by_bytes[data], []).append(i)
        return {text: np.array(at, np.int64) for text, at in places.items()}

    def _equal(self, text: bytes) -> np.ndarray:
        """The positions of the texts with these bytes."""
        at = np.flatnonzero(self.lengths == len(text))
        data = np.frombuffer(self._bytes, np.uint8)
        for back in range(1, len(text) + 1):  # from the end, where URIs and numbered names differ
            if not len(at):
                break
            at = at[data[self._stops[at] - back] == text[-back]]
        forget(self._bytes)
        return at

    def sha256(self) -> str:
        """SHA-256 (hexadecimal) of the texts and their lengths, independent of the layout in memory."""
        total = hashlib.sha256(np.ascontiguousarray(self.lengths, dtype="<i8").tobytes())
        for text in self.raw():
            total.update(text)
        return total.hexdigest()

    def _parts(self) -> Iterator[Iterator[tuple[int, int]]]:
        """Starts and stops in parts, between which the pages of mapped texts are released."""
        # Python ints slice several times faster than numpy ints; parts avoid a second list of N.
        for first in range(0, len(self), _PART):
            starts, stops = self._starts[first : first + _PART], self._stops[first : first + _PART]
            step = max(1, min(_PART, _PART * _RELEASE // max(1, int((stops - starts).sum()))))
            for at in range(0, len(starts), step):
                yield zip(starts[at : at + step].tolist(), stops[at : at + step].tolist(), strict=True)
                forget(self._bytes)

    def _decode(self, start: int, stop: int) -> str:
        return bytes(self._bytes[start:stop]).decode("utf-8", "surrogatepass")


class TextsBuilder:
    """Collects texts one by one into a `Texts`; OSError where a temporary file cannot be written."""

    def __init__(self) -> None:
        self._data, self._ends = Spill(), array("q")

    def __len__(self) -> int:
        return len(self._ends)

    def add(self, text: str) -> None:
        """Appends one text."""
        self._data.append(text.encode("utf-8", "surrogatepass"))
        self._ends.append(len(self._data))

    def add_valid(self, text: str) -> None:
        """Appends one text; raises UnicodeEncodeError if it holds half a surrogate pair."""
        self._data.append(text.encode())
        self._ends.append(len(self._data))

    def done(self) -> Texts:
        """The texts so far. The builder must not be used afterwards."""
        ends = np.frombuffer(self._ends, dtype=np.int64) if self._ends else np.zeros(0, dtype=np.int64)
        starts = np.zeros_like(ends)
        starts[1:] = ends[:-1]
        return Texts(self._data.block(), starts, ends)


def _is_number(text: str) -> bool:
    return text.isdigit() or _NUMBER.fullmatch(text) is not None
