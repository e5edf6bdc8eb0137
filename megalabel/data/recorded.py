"""Which of the options by which a run read its data also fit another file, such as one that it is measured on."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megalabel.data.file_bytes import chunks
from megalabel.data.findings import Findings
from megalabel.data.formats import FORMATS, shards
from megalabel.data.formats.delimited import has_lists
from megalabel.data.formats.table_header import MARKS, place
from megalabel.data.json_values import json_values
from megalabel.data.read_options import ReadOptions
from megalabel.data.text_lines import find_file, lines
from megalabel.errors import DataError

_JSON, _TABLE = (".jsonl", ".ndjson", ".json"), (".csv", ".tsv", ".tab")
_IN_ASCII = ("iso2022", "utf-7", "hz")  # encodings that write all characters in those of ASCII
_FIELDS = {"text_field": ("texts", "text"), "labels_field": ("labels", "labels")}


def fitting_format(recorded: Mapping[str, Any], path: Path) -> str | None:
    """The recorded format, if a file, or one in a folder, can have it: by its suffix, and its start or fields."""
    chosen, file = FORMATS.get(str(recorded.get("format"))), path
    if chosen is not None and path.is_dir():
        file = find_file(path, chosen.train) or find_file(path, chosen.test) or path
    plain = file.name.lower().removesuffix(".gz")
    if chosen is None or not file.is_file() or not plain.endswith(chosen.suffixes or ("\0",)):
        return None
    field = recorded.get("text_field")
    known = field is not None and place(field_names(file, recorded.get("encoding")), field) is not None
    return chosen.name if known or chosen.looks_right(file) else None


def fitting(recorded: Mapping[str, Any], file: Path, given: ReadOptions) -> tuple[dict[str, str], list[str]]:
    """The recorded options that fit a file of texts and labels, and a sentence on each that was considered.

    Args:
        recorded: how the data of a run were opened, as arguments of `Corpus.open`.
        file: the file; a split in several Parquet files is its first file or the folder of its parts.
        given: what the user says of the file, which takes precedence.

    Returns:
        Fields that the file has; the separator of labels, unless its cells are lists; and the encoding, unless the
        file is in UTF-8.
    """
    found: dict[str, str] = {}
    notes: list[str] = []
    encoding = given.encoding or recorded.get("encoding")
    if given.encoding is None and encoding is not None and needs_encoding(file, encoding):
        found["encoding"] = encoding
        notes.append(f"{file.name}: read as {encoding}, as in training")
    names = field_names(file, given.encoding or found.get("encoding"))
    for option, (what, usual) in _FIELDS.items():
        field = recorded.get(option)
        if field is None or getattr(given, option) is not None or not names:
            continue
        if place(names, field) is not None:
            found[option] = field
            notes.append(f"{file.name}: the {what} are read from {field!r}, as in training")
        elif place(names, usual) is not None:
            notes.append(f"{file.name}: there is no {field!r} as in training; the {what} are read from {usual!r}")
    separator = recorded.get("label_separator")
    if separator is not None and given.label_separator is None and names:
        options = ReadOptions(**{**given.given(), **found})
        if not (_suffix(file) in _TABLE and has_lists(file, options)):
            found["label_separator"] = separator
            notes.append(f"{file.name}: labels are separated by {separator!r}, as in training")
    return found, notes


def field_names(file: Path, encoding: str | None = None) -> list[str]:
    """The columns of a table, or the keys of the first JSON object; none for other files and damaged ones."""
    options, suffix = ReadOptions(encoding=encoding), _suffix(file)
    findings = Findings(collect=True, options=options)
    try:
        if suffix == ".parquet" or file.is_dir():
            import pyarrow.parquet as pq

            first = shards.files_of(file)[0]
            with shards.damaged_file(first):
                return list(pq.read_schema(first).names)
        if suffix in _JSON:
            value = next((value for _, value in json_values(file, findings)), None)
            return list(value) if isinstance(value, dict) else []
        line = next(lines(file, findings), (1, ""))[1] if suffix in _TABLE else ""
    except (DataError, IndexError):
        return []  # reading the file will raise it again
    return header_names(line)


def header_names(line: str) -> list[str]:
    """What may be the names in a header, whatever separates them."""
    names: list[str] = []
    for mark in MARKS if line else ():
        try:
            names += [name for name in next(csv.reader([line], delimiter=mark), []) if name not in names]
        except csv.Error:
            continue
    return names


def needs_encoding(file: Path, encoding: str) -> bool:
    """Whether a text file must be read in an encoding: whether it is not UTF-8, of which ASCII is a part."""
    if _suffix(file) == ".parquet" or not file.is_file():
        return False
    decoder, ascii_alone, zeros = codecs.getincrementaldecoder("utf-8")(), True, False
    try:
        for chunk in chunks(file):
            decoder.decode(chunk)
            ascii_alone, zeros = ascii_alone and chunk.isascii(), zeros or b"\0" in chunk
        decoder.decode(b"", True)
    except UnicodeDecodeError:
        return True
    return ascii_alone and (zeros or codecs.lookup(encoding).name.startswith(_IN_ASCII))


def _suffix(file: Path) -> str:
    return Path(file.name.lower().removesuffix(".gz")).suffix
