"""Opens what texts are read from: a file, a named pipe or standard input, plain or gzip, line by line."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from megalabel.errors import DataError, SettingError, line_of
from megalabel.storage.paths import as_path

LONGEST = 1 << 28  # bytes of a line: longer lines are not text, and must not fill the memory
LARGEST = 1 << 30  # bytes of a JSON array, or of a Parquet file on a pipe
HEAD = 1 << 16  # bytes at the start that the format is decided by
STDIN = "standard input"


class Source:
    """A stream of bytes with a name, of which the start can be looked at before it is read.

    Attributes:
        name: what messages call it.
        path: the file, if it is a regular one that can be opened again; else None.
        suffix: of the file in lower case without .gz; "" for standard input.
        head: up to 64 KiB from the start, unpacked.
        encoding: of the text, or None for UTF-8.
    """

    def __init__(self, file: Any, name: str, path: Path | None, suffix: str, encoding: str | None) -> None:
        self.name, self.path, self.suffix, self.encoding = name, path, suffix, encoding
        head = _head(file, name)
        self.unpacked = head[:2] == b"\x1f\x8b" or (path is not None and path.suffix.lower() == ".gz")
        self._file: Any = _Chained(head, file)
        if self.unpacked:
            self._file = gzip.GzipFile(fileobj=io.BufferedReader(self._file))
            head = _head(self._file, name)
            self._file = _Chained(head, self._file)
        self.head = head
        self._buffered = io.BufferedReader(self._file, 1 << 20)

    def first_lines(self, n: int) -> list[str]:
        """Up to n lines of the head, decoded as far as that is possible."""
        text = self.head.decode(self.encoding or "utf-8-sig", errors="replace")
        return [line.removesuffix("\r") for line in text.split("\n")[:n]]

    def read(self) -> bytes:
        """All bytes, for formats that cannot be streamed; DataError for more than 1 GiB of them."""
        with _damage(self.name):
            found = self._buffered.read(LARGEST + 1)
        if len(found) > LARGEST:
            raise DataError(
                f"more than {LARGEST:,} bytes, which must be read as a whole",
                wanted="JSON lines, or a Parquet file that is plain and no pipe",
                next_step="convert a JSON array with: jq -c '.[]'",
                where=self.name,
            )
        return found

    def lines(self) -> Iterator[tuple[int, str]]:
        """Yields each line with its number (from 1) and its line end; lines end at newlines alone.

        Raises:
            DataError: bytes of another encoding, damaged gzip data, or a line of more than 256 MiB.
        """
        with _damage(self.name):
            yield from self._encoded_lines(self.encoding) if self.encoding else self._utf8_lines()

    def _utf8_lines(self) -> Iterator[tuple[int, str]]:
        number = 0
        while raw := self._buffered.readline(LONGEST + 1):
            number += 1
            _check_length(len(raw), self.name, number)
            try:
                yield number, raw.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise self._not_in("UTF-8", error, line_of(self.name, number)) from error

    def _encoded_lines(self, encoding: str) -> Iterator[tuple[int, str]]:
        file, number = io.TextIOWrapper(self._buffered, encoding=encoding, newline="\n"), 0
        try:
            while line := file.readline(LONGEST + 1):
                number += 1
                _check_length(len(line), self.name, number)
                yield number, line.removeprefix("\ufeff") if number == 1 else line
        except UnicodeError as error:
            raise self._not_in(encoding, error, self.name) from error

    def _not_in(self, encoding: str, error: UnicodeError, where: str) -> DataError:
        reason = getattr(error, "reason", str(error))
        return DataError(
            f"bytes that are not {encoding} ({reason})",
            wanted=f"text in {encoding}",
            next_step="name the encoding with --encoding, such as cp1252, or convert the file with iconv",
            where=where,
        )


@contextmanager
def open_source(
    path: str | Path, stream: IO[bytes] | None = None, encoding: str | None = None
) -> Iterator[Source]:
    """Opens a file, a pipe with a name, or for "-" the stream.

    Raises:
        DataError: there is no such file, it is a folder, or it cannot be opened.
        SettingError: standard input is closed, or there is no such encoding.
    """
    _check_encoding(encoding)
    if str(path) == "-":
        if stream is None:
            raise SettingError("standard input is closed", wanted="texts on standard input, or a file of texts")
        yield Source(stream, STDIN, None, "", encoding)
        return
    file = as_path(path, "texts")
    if file.is_dir() or not file.exists():
        found = "a folder" if file.is_dir() else "no such file"
        step = "give the file of the texts in it" if file.is_dir() else "correct the path, or give - for a pipe"
        if "://" in str(path):
            step = "download the file first: this is an address"
        elif " " in str(path) and not file.exists() and not file.suffix:
            step = "correct the path; a text itself comes through a pipe: echo TEXT | megalabel predict RUN"
        raise DataError(found, wanted="a file of texts", next_step=step, where=path)
    name = file.name.lower().removesuffix(".gz")
    try:
        opened = open(file, "rb", buffering=0)
    except OSError as error:
        raise DataError(
            f"cannot be opened ({error.strerror})",
            wanted="a readable file",
            next_step="check its permissions",
            where=path,
        ) from error
    with opened:
        regular = file.is_file()
        suffix = Path(name).suffix if regular or Path(name).suffix in (".txt", ".jsonl", ".csv", ".tsv") else ""
        yield Source(opened, os.fspath(path), file if regular else None, suffix, encoding)


class _Chained(io.RawIOBase):
    """The bytes that were read already, and then those of the file."""

    def __init__(self, head: bytes, rest: Any) -> None:
        self._head, self._rest = memoryview(head), rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        part: Any = self._head[: len(buffer)]
        self._head = self._head[len(part) :]
        if not len(part):
            part = _some(self._rest, len(buffer))
        buffer[: len(part)] = part
        return len(part)


def _some(file: Any, n: int) -> bytes:
    """Up to n bytes, as soon as there are some; none at the end."""
    read = getattr(file, "read1", file.read)
    return read(n) or b""


def _head(file: Any, name: str) -> bytes:
    """The start of a stream: two lines, or 64 KiB."""
    head = b""
    with _damage(name):
        while len(head) < HEAD and head.count(b"\n") < 2:
            part = _some(file, HEAD - len(head))
            if not part:
                break
            head += part
    return head


@contextmanager
def _damage(name: str) -> Iterator[None]:
    try:
        yield
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(
            f"the file ends early or is damaged ({error})",
            wanted="a complete gzip file",
            next_step="copy or download it again; a plain file must not be named .gz",
            where=name,
        ) from error
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})", wanted="a readable file of texts", where=name
        ) from error


def _check_length(n: int, name: str, number: int) -> None:
    if n > LONGEST:
        raise DataError(
            f"a line of more than {LONGEST:,} bytes",
            wanted="texts of at most that many",
            next_step="check that the file holds texts, one per line",
            where=line_of(name, number),
        )


def _check_encoding(encoding: str | None) -> None:
    try:
        "".encode(encoding or "utf-8")
    except LookupError:
        raise SettingError(
            f"{encoding!r} is not an encoding of text",
            wanted="the name of one, such as utf-8, utf-16, cp1252 or gb18030",
            where="encoding",
        ) from None
