"""Decides how texts are to be read: by the suffix of their file, by its start, or as the caller says."""

from __future__ import annotations

import csv
import re

from megalabel.data.file_bytes import step_for
from megalabel.errors import DataError, SettingError
from megalabel.inference.source import Source

FORMATS = ("lines", "jsonl", "json", "csv", "tsv", "parquet")
# The names that formats of data sets have, where a file of such a set is given.
ALIASES = {"raw": "lines", "cascadexml": "lines", "spartex": "lines", "lf-json": "jsonl", "annif": "tsv"}
SUFFIXES = {
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "jsonl",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tab": "tsv",
    ".parquet": "parquet",
}
PLAIN = (".txt", ".text", "")
BAGS = (".svm", ".libsvm")
SAID = {
    "lines": "one text per line",
    "jsonl": "JSON lines",
    "json": "one JSON array",
    "csv": "CSV",
    "tsv": "TSV",
    "parquet": "Parquet",
}
NUL_SHARE = 0.1  # of the bytes at the start: what has more is not text of one byte per character

_OBJECT = re.compile(r"\s*\{\s*\"")
_ARRAY = re.compile(r"\s*\[\s*(\{\s*\"|\{?\s*$)")
_HEADER = re.compile(r"\d+ \d+( \d+)?\s*")
_PAIRS = re.compile(r"\d+:[-+.\deE]+( +\d+:[-+.\deE]+)*\s*")  # a row of features, or of labels
_BAG = re.compile(r"(\d+(:[\d.]+)?(,\d+(:[\d.]+)?)*)?( +\d+:[-+.\deE]+)+\s*|\d+(,\d+)*\s*")
_NAME = re.compile(r"[^\W\d][\w .-]{0,40}")


def choose(source: Source, format: str | None, text_field: str) -> tuple[str, str]:
    """The format of a source, and what to tell the user about it ("" where nothing was guessed).

    Args:
        source: the opened source.
        format: one of `FORMATS` or `ALIASES` where the user said so.
        text_field: the name of the column of the texts.

    Raises:
        SettingError: there is no such format.
        DataError: a suffix that is not known, bags of words, or something else than text.
    """
    if format is not None:
        named = ALIASES.get(format, format)
        if named not in FORMATS:
            raise SettingError.choice("format", format, (*FORMATS, *ALIASES))
        return named, ""
    known = SUFFIXES.get(source.suffix)
    if known == "jsonl" and source.suffix == ".json" and source.head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"[":
        known = "json"
    if known is not None:
        _check_text(source, known)
        return known, ""
    if source.suffix in BAGS:
        raise bags(source)
    if source.suffix not in PLAIN:
        suffixes = (*PLAIN[:2], *SUFFIXES)
        raise DataError(
            f"no format of texts has the suffix {source.suffix!r}",
            wanted=f"one of {', '.join(suffixes)}, each also with .gz",
            next_step=step_for(source.path.name.removesuffix(".gz") if source.path else "")
            or "export the texts as CSV or JSON lines, or give --format lines for plain lines of text",
            where=source.name,
        )
    found = _by_start(source, text_field)
    _check_text(source, found)
    if found != "lines" or source.path is None:
        return found, f"{source.name}: read as {SAID[found]}, by its first line; --format reads it otherwise"
    if is_table(source, text_field):
        return found, f"{source.name}: the first line is read as a text; if it is a header, give --format csv"
    return found, ""


def bags(source: Source) -> DataError:
    """The error for bags of words where texts are wanted."""
    return DataError(
        "lines of a bag-of-words file, or of labels (pairs of numbers)",
        wanted="texts, since the model was trained on texts",
        next_step="give the file of the texts themselves; --format lines reads the lines as texts",
        where=source.name,
    )


def delimiter(line: str, text_field: str) -> str | None:
    """What separates the cells of a header that has a column of this name; None if nothing does."""
    for mark in (",", ";", "\t", "|"):
        if text_field in cells(line, mark):
            return mark
    return None


def cells(line: str, mark: str) -> list[str]:
    """The cells of a single line."""
    try:
        return next(csv.reader([line], delimiter=mark), [])
    except csv.Error:
        return []


def _by_start(source: Source, text_field: str) -> str:
    if source.head.startswith(b"PAR1"):
        return "parquet"
    first, *rest = source.first_lines(3)
    if _OBJECT.match(first):
        return "jsonl"
    if _ARRAY.match(first):
        return "json"
    if _looks_like_bags(first, rest):
        raise bags(source)
    if source.path is None or source.suffix == "":
        mark = delimiter(first, text_field) if is_table(source, text_field) else None
        return "lines" if mark is None else "tsv" if mark == "\t" else "csv"
    return "lines"


def _looks_like_bags(first: str, rest: list[str]) -> bool:
    second = rest[0] if rest else ""
    pairs = ":" in second and _BAG.fullmatch(second) is not None
    if _HEADER.fullmatch(first):
        like_rows = pairs or _PAIRS.fullmatch(second) is not None
        return like_rows or (first.count(" ") == 2 and bool(second) and _BAG.fullmatch(second) is not None)
    return ":" in first and _BAG.fullmatch(first) is not None and (pairs or not second.strip())


def is_table(source: Source, text_field: str) -> bool:
    """Whether the first line is a header of two names or more, one of them that of the texts."""
    first, *rest = source.first_lines(2)
    mark = delimiter(first, text_field)
    if mark is None:
        return False
    names = cells(first, mark)
    like_names = len(names) > 1 and all(_NAME.fullmatch(name) for name in names)
    return like_names and (not rest or not rest[0] or mark in rest[0])


def _check_text(source: Source, format: str) -> None:
    """DataError for binary data, or an encoding of two bytes a character, under the name of a text."""
    zeros = source.head.count(b"\0")
    if format == "parquet" or source.encoding or not source.head:
        return
    if source.head.startswith(b"PK\x03\x04"):
        raise DataError(
            "a zip archive or an Excel workbook",
            wanted="text in UTF-8",
            next_step="unpack it, or save the table as CSV in UTF-8",
            where=source.name,
        )
    wide = source.head.startswith((b"\xff\xfe", b"\xfe\xff"))
    if wide or zeros > NUL_SHARE * len(source.head):
        raise DataError(
            "UTF-16 text" if wide else f"{zeros:,} zero bytes in the first {len(source.head):,}",
            wanted="text in UTF-8",
            next_step="name the encoding, as in --encoding utf-16, or convert the file with iconv",
            where=source.name,
        )
