"""Reads text files line by line: plain or gzip, checked to be UTF-8, split at newline bytes only."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from megalabel.data.file_bytes import MAX_LINE_BYTES, chunks, kind_of
from megalabel.data.findings import Findings
from megalabel.data.texts import Texts
from megalabel.errors import DataError, line_of
from megalabel.storage.spill import Spill

_BOM = b"\xef\xbb\xbf"
_UTF16_STEP = 'give encoding="utf-16" (--encoding utf-16), or convert it with: iconv -f UTF-16 -t UTF-8'


def find_file(folder: Path, *names: str) -> Path | None:
    """The file with one of these names in a folder, plain or `.gz`, or None.

    Raises:
        DataError: there are two or more such files, or a name is that of something other than a file.
    """
    paths = [p for name in names for p in (folder / name, folder / f"{name}.gz") if os.path.lexists(p)]
    there = [p for p in paths if p.is_file()]
    if len(there) < len(paths):
        odd = next(p for p in paths if p not in there)
        raise DataError(
            f"{odd.name} is {kind_of(odd)}",
            wanted="a file",
            next_step="rename or remove it, or put the file in its place",
            where=folder,
        )
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
        DataError: the file cannot be read, its gzip data is truncated or damaged, it is not UTF-8 (or not what
            `findings.options.encoding` says), or a line is longer than 256 MB.
    """
    line, held, n_held, first = 1, [], 0, True
    for chunk in chunks(path, findings.options.encoding):
        if first:
            chunk, first = _check_start(path, chunk, findings), False
        cut = chunk.rfind(b"\n") + 1
        if cut == 0:
            held.append(chunk)
            n_held += len(chunk)
            if n_held > MAX_LINE_BYTES:
                raise _long_line(path, line)
            continue
        block = b"".join([*held, chunk[:cut]])
        held, n_held = ([chunk[cut:]], len(chunk) - cut) if cut < len(chunk) else ([], 0)
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
    data, ends, returns = Spill(), [], []
    for _, block in blocks(path, findings):
        view = np.frombuffer(block, dtype=np.uint8)
        stops = np.flatnonzero(view == 10)
        if not block.endswith(b"\n"):
            stops = np.append(stops, len(block))
        returns.append((stops > 0) & (view[np.maximum(stops - 1, 0)] == 13))
        ends.append(stops + len(data))
        data.append(block)
    if not len(data):
        raise empty_file(path)
    stops, carriage = np.concatenate(ends).astype(np.int64, copy=False), np.concatenate(returns)
    starts = np.zeros_like(stops)
    starts[1:] = stops[:-1] + 1
    if carriage.any():
        _note_carriage_returns(findings, path, int(carriage.argmax()) + 1, int(carriage.sum()))
        stops -= carriage
    note_blank(findings, path, np.flatnonzero(stops == starts))
    return Texts(data.block(), starts, stops)


def note_blank(findings: Findings, path: Path, rows: np.ndarray) -> None:
    """Notes the rows (counted from 0, one per line) that are blank."""
    if len(rows):
        findings.note("blank", path, "blank line, kept as an empty text", line=int(rows[0]) + 1, count=len(rows))


def empty_file(path: Path) -> DataError:
    """The error for a file without any bytes."""
    return DataError(
        "the file is empty",
        wanted="at least one line",
        next_step="check the path, and that the program that wrote the file has ended",
        where=path,
    )


def _note_carriage_returns(findings: Findings, path: Path, line: int, count: int) -> None:
    findings.note("crlf", path, "Windows line end (CR LF), read as LF", line=line, count=count)


def _long_line(path: Path, line: int) -> DataError:
    return DataError(
        f"a line of more than {MAX_LINE_BYTES >> 20} MB",
        wanted="lines of at most that length",
        next_step="check that the file is text, and that its lines end with a newline",
        where=line_of(path, line),
    )


def _check_start(path: Path, chunk: bytes, findings: Findings) -> bytes:
    """The first chunk without its byte order mark; DataError for other encodings and for archives."""
    for magic, what, step in (
        (b"\x1f\x8b", "gzip data under a name without .gz", f"rename it to {path.name}.gz"),
        (b"PK\x03\x04", "a zip archive or an Excel workbook", "unpack it, or save the table as CSV in UTF-8"),
        (b"\xff\xfe", "UTF-16 text", _UTF16_STEP),
        (b"\xfe\xff", "UTF-16 text", _UTF16_STEP),
    ):
        if chunk.startswith(magic):
            raise DataError(what, wanted="UTF-8 text", next_step=step, where=path)
    if chunk.startswith(_BOM):
        findings.note("bom", path, "byte order mark at the start, ignored", line=1, severity="info")
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
    n_bad = 1
    if findings.collect:
        n_bad = sum(a != b for a, b in zip(block.split(b"\n"), clean.split(b"\n"), strict=True))
    findings.error(
        "utf8",
        path,
        DataError(
            f"byte 0x{bad:02x} at byte {column + 1} of the line is not UTF-8",
            wanted="UTF-8 text",
            next_step='give its encoding, for example encoding="windows-1252" (--encoding windows-1252), or '
            "convert it with: iconv -f WINDOWS-1252 -t UTF-8",
            where=line_of(path, line),
        ),
        count=n_bad,
    )
    return clean
