"""Distinguishes formats that use the same file name, by the first lines of a file."""

from __future__ import annotations

import gzip
import json
import re
import zlib
from pathlib import Path

_HEAD_BYTES = 1 << 16
_HEADER = re.compile(r" *\d+( +|\t)\d+\1\d+ *\r?")
_DOCUMENT = re.compile(r'\s*\{\s*"[^"\\]*"\s*:\s*\[\s*(\{|\Z)')
_FEATURES = re.compile(r"(\s*\d+:\S+)+\s*")
LABEL = "__label__"


def sniff(file: Path) -> str:
    """What a text file looks like.

    Returns:
        For TSV: "table" (a header with a column of texts and one of labels) or "uris".
        For JSON: "subjects" (lines as Annif has them), "document" (one object that holds an array of records) or
        "json". For other files: "fasttext", "tabs" (labels, tab, text) or "bag". A file that cannot be read or
        has neither form gets the last of these, whose reader says what is wrong.
    """
    head = _head(file)
    if file.name.removesuffix(".gz").endswith((".json", ".jsonl", ".ndjson")):
        return _json_kind(head)
    lines = [line for line in head.split("\n") if line.strip()]
    if file.name.lower().removesuffix(".gz").endswith((".tsv", ".tab")):
        header = {name.strip(' "\r').casefold() for name in lines[0].split("\t")} if lines else set()
        return "table" if "text" in header and header & {"labels", "label"} else "uris"
    if not lines or _HEADER.fullmatch(lines[0]):
        return "bag"
    if any(word.startswith(LABEL) for line in lines[:50] for word in line.split()):
        return "fasttext"
    first, tab, rest = lines[0].partition("\t")
    return "tabs" if tab and ":" not in first and not _FEATURES.fullmatch(rest) else "bag"


def _json_kind(head: str) -> str:
    first = next((line for line in head.split("\n") if line.strip()), "")
    try:
        value = json.loads(first)
    except (ValueError, RecursionError):
        return "document" if _DOCUMENT.match(head) else "json"
    if not isinstance(value, dict):
        return "json"
    if "subjects" in value and "labels" not in value:
        return "subjects"
    only = next(iter(value.values())) if len(value) == 1 else None
    records = isinstance(only, list) and only and isinstance(only[0], dict)
    return "document" if records else "json"


def _head(file: Path) -> str:
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            return stream.read(_HEAD_BYTES).decode("utf-8-sig", errors="replace")
    except (OSError, EOFError, zlib.error):
        return ""
