"""Files as streams of whole lines: plain or gzip, UTF-8 checked, split at newline bytes and nowhere else."""

from __future__ import annotations

import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import numpy as np

from megalabel.data.findings import Findings
from megalabel.data.texts import Texts
from megalabel.errors import DataError, line_of

_PIECE = 1 << 20
_BOM = b"\xef\xbb\xbf"


def find(folder: Path, *names: str) -> Path | None:
    """The file of one of these names in a folder, plain or `.gz`, or None. Two candidates are an error."""
    there = [p for name in names for p in (folder / name, folder / f"{name}.gz") if p.is_file()]
    if len(there) > 1:
        raise DataError(
            f"found {' and '.join(p.name for p in there)}",
            wanted="one of them, since they may differ",
            next_step="move all but one elsewhere",
            where=folder,
        )
    return there[0] if there else None


def blocks(path: Path, findings: Findings) -> Iterator[tuple[int, bytes]]:
    """Pieces of about a megabyte that end where a line ends, each with its first line's number (from 1).

    A byte order mark at the start is taken off and noted. Only the file's last block may lack its newline.

    Raises:
        DataError: unreadable, truncated or damaged gzip data, not UTF-8.
    """
    line, held, first = 1, [], True
    for piece in _pieces(path):
        if first:
            piece, first = _start(path, piece, findings), False
        cut = piece.rfind(b"\n") + 1
        if cut == 0:
            held.append(piece)
            continue
        block = b"".join([*held, piece[:cut]])
        held = [piece[cut:]] if cut < len(piece) else []
        yield line, _utf8(path, line, block, findings)
        line += block.count(b"\n")
    if rest := b"".join(held):
        yield line, _utf8(path, line, rest, findings)


def lines(path: Path, findings: Findings, keep_ends: bool = False) -> Iterator[tuple[int, str]]:
    """Each line with its number, from 1; its newline and a carriage return before it are taken off.

    `keep_ends` leaves both, for formats in which a line end may be content.
    """
    end = "\n" if keep_ends else ""
    for first, block in blocks(path, findings):
        whole = block if keep_ends else uncarriaged(path, first, block, findings)
        for number, line in enumerate(whole.decode().removesuffix("\n").split("\n"), first):
            yield number, line + end


def uncarriaged(path: Path, first_line: int, block: bytes, findings: Findings) -> bytes:
    """A block with Windows line ends made plain ones; how many there were is noted."""
    if b"\r" not in block:
        return block
    plain = block.replace(b"\r\n", b"\n")
    if plain.endswith(b"\r"):  # the last line of a file may lack its newline
        plain = plain[:-1]
    if n := len(block) - len(plain):
        at = block.find(b"\r\n")
        _note_carriage_returns(findings, path, first_line + block.count(b"\n", 0, at if at >= 0 else None), n)
    return plain


def read_texts(path: Path, findings: Findings) -> Texts:
    """One text a line. Blank lines stay texts (row i must stay row i) and are noted.

    Raises:
        DataError: as `blocks` does, and for a file of no bytes.
    """
    data, ends = bytearray(), []
    for _, block in blocks(path, findings):
        ends.append(np.flatnonzero(np.frombuffer(block, dtype=np.uint8) == 10) + len(data))
        data += block
    if not data:
        raise empty(path)
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
    """Notes which rows (from 0, one a line) are blank."""
    if len(rows):
        findings.note("blank", path, "blank line, kept as an empty row", line=int(rows[0]) + 1, count=len(rows))


def empty(path: Path) -> DataError:
    """The error for a file of no bytes."""
    return DataError(
        "the file is empty",
        wanted="at least one line",
        next_step="write it again from its source",
        where=path,
    )


def _note_carriage_returns(findings: Findings, path: Path, line: int, count: int) -> None:
    findings.note("crlf", path, "Windows line end (CR LF), read as a plain one", line=line, count=count)


def _pieces(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            if path.suffix == ".gz":
                yield from _inflate(path, file)
            else:
                while piece := file.read(_PIECE):
                    yield piece
    except OSError as error:
        raise DataError(
            f"cannot be read ({error.strerror or error})",
            wanted="a readable file",
            next_step="check the path and its permissions",
            where=path,
        ) from error


def _inflate(path: Path, file: BinaryIO) -> Iterator[bytes]:
    """The plain bytes of a gzip file of one or more members, in bounded pieces."""
    inflater, line, started = zlib.decompressobj(wbits=31), 1, False
    while raw := file.read(_PIECE):
        while raw:
            if inflater.eof:
                raw = raw.lstrip(b"\0")  # tape padding between members
                inflater = zlib.decompressobj(wbits=31) if raw else inflater
                if not raw:
                    break
            started = True
            try:
                plain = inflater.decompress(raw, _PIECE)
            except zlib.error as error:
                raise DataError(
                    f"the gzip data is damaged or is no gzip data ({error})",
                    wanted="a whole gzip file",
                    next_step="copy or download it again; a plain file must not be named .gz",
                    where=line_of(path, line),
                ) from error
            line += plain.count(b"\n")
            if plain:
                yield plain
            raw = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
            while not inflater.eof and not raw and len(plain) == _PIECE:
                plain = inflater.decompress(b"", _PIECE)
                line += plain.count(b"\n")
                if plain:
                    yield plain
    if started and not inflater.eof:
        raise DataError(
            "the gzip data ends in mid-stream: the file is truncated",
            wanted="a whole gzip file",
            next_step="copy or download it again",
            where=line_of(path, line),
        )


def _start(path: Path, piece: bytes, findings: Findings) -> bytes:
    """The first piece without its byte order mark; other encodings and hidden gzip are refused here."""
    for magic, what, step in (
        (b"\x1f\x8b", "gzip data under a name without .gz", f"rename it to {path.name}.gz"),
        (b"PK\x03\x04", "a zip archive", "unpack it first"),
        (b"\xff\xfe", "UTF-16 text", f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}"),
        (b"\xfe\xff", "UTF-16 text", f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}"),
    ):
        if piece.startswith(magic):
            raise DataError(what, wanted="UTF-8 text", next_step=step, where=path)
    if piece.startswith(_BOM):
        findings.note("bom", path, "byte order mark at the start, taken off", line=1)
        return piece[len(_BOM) :]
    return piece


def _utf8(path: Path, first_line: int, block: bytes, findings: Findings) -> bytes:
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
            next_step="find the file's encoding and convert it, as in: iconv -f WINDOWS-1252 -t UTF-8",
            where=line_of(path, line),
        ),
        count=n_bad,
    )
    return clean
