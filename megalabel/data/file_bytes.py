"""The bytes of a text file in UTF-8, chunk by chunk: plain or gzip, and recoded where an encoding is given."""

from __future__ import annotations

import codecs
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from megalabel.errors import DataError, line_of

MAX_LINE_BYTES = 256 << 20
_CHUNK_BYTES = 1 << 20
_TO_CONVERT = {
    (".xlsx", ".xls", ".xlsm", ".ods"): "save the table as CSV in UTF-8, with commas between the columns",
    (".zip", ".tar", ".tgz", ".7z", ".rar", ".bz2", ".xz", ".zst"): "unpack it first",
    (".pdf", ".doc", ".docx", ".odt", ".html"): "write the texts in it to a file of JSON lines or CSV",
    (".arrow", ".feather", ".pkl", ".pickle", ".db", ".sqlite"): "write it as Parquet or JSON lines",
}
# Texts shrink 3 to 20 times in gzip, and 1,032 times is the most that its method allows.
_LARGEST_RATIO, _CHECKED_FROM_BYTES = 250, 64 << 20


def kind_of(path: Path) -> str:
    """What a path is that is not a file: "a folder", "a dangling link", "a named pipe", …"""
    try:
        mode = path.stat().st_mode
    except OSError:
        return "a link to nothing" if path.is_symlink() else "not there"
    for test, what in (
        (stat.S_ISDIR, "a folder"),
        (stat.S_ISFIFO, "a named pipe"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISREG, "a file"),
    ):
        if test(mode):
            return what
    return "a device"


def step_for(name: str) -> str | None:
    """What to do about a file of a kind that holds texts only after a conversion; None for other suffixes."""
    suffix = Path(name).suffix.lower()
    return next((step for suffixes, step in _TO_CONVERT.items() if suffix in suffixes), None)


def is_gzip(path: Path) -> bool:
    """Whether the name says that a file is gzip data."""
    return path.suffix.lower() == ".gz"


def chunks(path: Path, encoding: str | None = None) -> Iterator[bytes]:
    """Yields the content of a file, unpacked if it is gzip, and in UTF-8 if an encoding is given.

    Without an encoding the bytes are those of the file.

    Raises:
        DataError: the file cannot be read, its gzip data is damaged or a bomb, or it is not in that encoding.
    """
    try:
        with path.open("rb") as file:
            plain = _inflate(path, file) if is_gzip(path) else iter(lambda: file.read(_CHUNK_BYTES), b"")
            yield from plain if encoding is None else _recoded(path, plain, encoding)
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})",
            wanted="a readable file",
            next_step="check the path and its permissions",
            where=path,
        ) from error


def _recoded(path: Path, plain: Iterator[bytes], encoding: str) -> Iterator[bytes]:
    """The chunks in UTF-8."""
    decoder, line = codecs.getincrementaldecoder(encoding)(), 1
    last = False
    while not last:
        chunk = next(plain, b"")
        last = not chunk
        try:
            recoded = decoder.decode(chunk, last).encode("utf-8", "surrogatepass")
        except UnicodeError as error:
            raise DataError(
                f"is not in the encoding {encoding} ({str(error)[:120]})",
                wanted="text in that encoding",
                next_step="give the encoding in which the file was written",
                where=line_of(path, line),
            ) from error
        line += recoded.count(b"\n")
        if recoded:
            yield recoded


def _inflate(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Yields the uncompressed bytes of a gzip file of one or more members, in chunks of bounded size."""
    inflater, line, started, n_out, n_in = zlib.decompressobj(wbits=31), 1, False, 0, 0
    while raw := file.read(_CHUNK_BYTES):
        n_in += len(raw)
        while raw:
            if inflater.eof:
                raw = raw.lstrip(b"\0")  # zero padding between members
                inflater = zlib.decompressobj(wbits=31) if raw else inflater
                if not raw:
                    break
            started = True
            for plain in _pieces(inflater, raw, path, line):
                line += plain.count(b"\n")
                n_out += len(plain)
                _check_expansion(path, n_out, n_in - len(inflater.unconsumed_tail))
                yield plain
            raw = inflater.unused_data if inflater.eof else b""
    if started and not inflater.eof:
        raise DataError(
            "the gzip data ends too early: the file is truncated",
            wanted="a complete gzip file",
            next_step="copy or download it again",
            where=line_of(path, line),
        )


def _pieces(inflater: zlib._Decompress, raw: bytes, path: Path, line: int) -> Iterator[bytes]:
    """The uncompressed bytes of `raw` in pieces of bounded size, up to the end of the member."""
    more = True
    while more:
        try:
            plain = inflater.decompress(raw, _CHUNK_BYTES)
        except zlib.error as error:
            raise DataError(
                f"the gzip data is damaged or not gzip at all ({error})",
                wanted="a complete gzip file",
                next_step="copy or download it again; a plain file must not be named .gz",
                where=line_of(path, line),
            ) from error
        line += plain.count(b"\n")
        if plain:
            yield plain
        raw = inflater.unconsumed_tail
        more = not inflater.eof and (bool(raw) or len(plain) == _CHUNK_BYTES)


def _check_expansion(path: Path, n_out: int, n_in: int) -> None:
    """Raises DataError for data that expand as text never does, before they fill the memory."""
    if n_out > _CHECKED_FROM_BYTES and n_out > _LARGEST_RATIO * n_in:
        raise DataError(
            f"the gzip data expand to more than {_LARGEST_RATIO} times their size",
            wanted="text, which expands to 3 to 20 times its size",
            next_step="check where the file is from; if it is right, unpack it with gunzip first",
            where=path,
        )
