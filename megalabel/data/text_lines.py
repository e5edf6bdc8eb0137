"""Reads text files line by line: plain or gzip, checked to be UTF-8, split at newline bytes only."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from megalabel.data.findings import Findings
from megalabel.data.texts import Texts
from megalabel.errors import DataError, line_of

_CHUNK_BYTES = 1 << 20
_BOM = b"\xef\xbb\xbf"


def find_file(folder: Path, *names: str) -> Path | None:
    """The file with one of these names in a folder, plain or `.gz`, or None.

    Raises:
        DataError: there are two or more such files.
    """
    there = [p for name in names for p in (folder / name, folder / f"{name}.gz") if p.is_file()]
    if len(there) > 1:
        raise DataError(
            f"found {' and '.join(p.name for p in there)}",
            wanted="only one of them, since they may differ",
            next_step="move all but one elsewhere",
            where=folder,
        )
    return there[0] if there else None


def blocks(path: Path, findings: Findings) -> Iterator[tuple[int, bytes]]:
    """Yields blocks of about a megabyte that end at a line end, each with the number of its first line (from 1).

    A byte order mark at the start is removed and noted. Only the last block of a file may lack its newline.

    Raises:
        DataError: the file cannot be read, its gzip data is truncated or damaged, or it is not UTF-8.
    """
    line, held, first = 1, [], True
    for chunk in _chunks(path):
        if first:
            chunk, first = _check_start(path, chunk, findings), False
        cut = chunk.rfind(b"\n") + 1
        if cut == 0:
            held.append(chunk)
            continue
        block = b"".join([*held, chunk[:cut]])
        held = [chunk[cut:]] if cut < len(chunk) else []
        yield line, _check_utf8(path, line, block, findings)
        line += block.count(b"\n")
    if rest := b"".join(held):
        yield line, _check_utf8(path, line, rest, findings)


def lines(path: Path, findings: Findings, keep_ends: bool = False) -> Iterator[tuple[int, str]]:
    """Yields each line with its number (from 1), without its newline and a carriage return before it.

    `keep_ends` keeps both, for formats in which a line end may be part of a value.
    """
    end = "\n" if keep_ends else ""
    for first, block in blocks(path, findings):
        text = block if keep_ends else without_carriage_returns(path, first, block, findings)
        for number, line in enumerate(text.decode().removesuffix("\n").split("\n"), first):
            yield number, line + end


def without_carriage_returns(path: Path, first_line: int, block: bytes, findings: Findings) -> bytes:
    """The block with Windows line ends (CR LF) replaced by LF; their number is noted."""
    if b"\r" not in block:
        return block
    plain = block.replace(b"\r\n", b"\n")
    if plain.endswith(b"\r"):  # the last line of a file may lack its newline
        plain = plain[:-1]
    if n := len(block) - len(plain):
        at = block.find(b"\r\n")
        _note_carriage_returns(findings, path, first_line + block.count(b"\n", 0, at if at >= 0 else None), n)
    return plain


def read_text_lines(path: Path, findings: Findings) -> Texts:
    """Reads one text per line. A blank line is an empty text, so that row i stays row i, and is noted.

    Raises:
        DataError: as in `blocks`; also for an empty file.
    """
    data, ends = bytearray(), []
    for _, block in blocks(path, findings):
        ends.append(np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == 10) + len(data))
        data += block
    if not data:
        raise empty_file(path)
    stops = np.concatenate(ends).astype(np.int64)
    if not data.endswith(b"\n"):
        stops = np.append(stops, len(data))
    starts = np.zeros_like(stops)
    starts[1:] = stops[:-1] + 1
    view = np.frombuffer(data, dtype=np.uint8)
    carriage = (stops > starts) & (view[np.maximum(stops - 1, 0)] == 13)
    if carriage.any():
        _note_carriage_returns(findings, path, int(carriage.argmax()) + 1, int(carriage.sum()))
        stops = stops - carriage
    note_blank(findings, path, np.flatnonzero(stops == starts))
    return Texts(data, starts, stops)


def note_blank(findings: Findings, path: Path, rows: np.ndarray) -> None:
    """Notes the rows (counted from 0, one per line) that are blank."""
    if len(rows):
        findings.note("blank", path, "blank line, kept as an empty text", line=int(rows[0]) + 1, count=len(rows))


def empty_file(path: Path) -> DataError:
    """The error for a file without any bytes."""
    return DataError("the file is empty", wanted="at least one line", where=path)


def _note_carriage_returns(findings: Findings, path: Path, line: int, count: int) -> None:
    findings.note("crlf", path, "Windows line end (CR LF), read as LF", line=line, count=count)


def _chunks(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            if path.suffix == ".gz":
                yield from _inflate(path, file)
            else:
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})",
            wanted="a readable file",
            next_step="check the path and its permissions",
            where=path,
        ) from error


def _inflate(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """Yields the uncompressed bytes of a gzip file of one or more members, in chunks of bounded size."""
    inflater, line, started = zlib.decompressobj(wbits=31), 1, False
    while raw := file.read(_CHUNK_BYTES):
        while raw:
            if inflater.eof:
                raw = raw.lstrip(b"\0")  # zero padding between members
                inflater = zlib.decompressobj(wbits=31) if raw else inflater
                if not raw:
                    break
            started = True
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
            raw = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            while not inflater.eof and not raw and len(plain) == _CHUNK_BYTES:
                plain = inflater.decompress(b"", _CHUNK_BYTES)
                line += plain.count(b"\n")
                if plain:
                    yield plain
    if started and not inflater.eof:
        raise DataError(
            "the gzip data ends too early: the file is truncated",
            wanted="a complete gzip file",
            next_step="copy or download it again",
            where=line_of(path, line),
        )


def _check_start(path: Path, chunk: bytes, findings: Findings) -> bytes:
    """The first chunk without its byte order mark; DataError for other encodings and for archives."""
    for magic, what, step in (
        (b"\x1f\x8b", "gzip data under a name without .gz", f"rename it to {path.name}.gz"),
        (b"PK\x03\x04", "a zip archive", "unpack it first"),
        (b"\xff\xfe", "UTF-16 text", f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}"),
        (b"\xfe\xff", "UTF-16 text", f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}"),
    ):
        if chunk.startswith(magic):
            raise DataError(what, wanted="UTF-8 text", next_step=step, where=path)
    if chunk.startswith(_BOM):
        findings.note("bom", path, "byte order mark at the start, ignored", line=1)
        return chunk[len(_BOM) :]
    return chunk


def _check_utf8(path: Path, first_line: int, block: bytes, findings: Findings) -> bytes:
    if block.isascii():
        return block
    try:
        block.decode()
        return block
    except UnicodeDecodeError as error:
        line = first_line + block.count(b"\n", 0, error.start)
        column = error.start - (block.rfind(b"\n", 0, error.start) + 1)
        bad = block[error.start]
    clean = block.decode(errors="replace").encode()
    n_bad = sum(a != b for a, b in zip(block.split(b"\n"), clean.split(b"\n"), strict=True))
    findings.error(
        "utf8",
        path,
        DataError(
            f"byte 0x{bad:02x} at byte {column + 1} of the line is not UTF-8",
            wanted="UTF-8 text",
            next_step="convert the file to UTF-8, for example with: iconv -f WINDOWS-1252 -t UTF-8",
            where=line_of(path, line),
        ),
        count=n_bad,
    )
    return clean
