"""Reads feedback as `megalabel serve` stores it: JSON lines of texts with right and with rejected labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

from megalabel.data.file_bytes import chunks
from megalabel.data.findings import Findings
from megalabel.data.formats.jsonl import objects, string
from megalabel.data.json_values import json_values
from megalabel.errors import DataError, line_of

KEYS = ("text", "labels", "rejected")


class Judged(NamedTuple):
    """A text, the names of its right labels, and of labels that are wrong."""

    text: str
    labels: list[str]
    rejected: list[str]


def is_feedback(path: Path) -> bool:
    """Whether some lines of a file of JSON lines have the keys of feedback; others may be those of a data set."""
    try:
        if not path.is_file() or not _mentions(path, b'"rejected"'):  # most data sets are not parsed
            return False
        values = json_values(path, Findings())
        return any(isinstance(value, dict) and all(key in value for key in KEYS) for _, value in values)
    except DataError:
        return False


def read_feedback(path: Path) -> list[Judged]:
    """What was said of each text; of several lines with the same text, the last one counts.

    Lines without the key `rejected`, such as those of a data set, reject nothing.

    Raises:
        DataError: a line is not JSON or has other values, or a label is right and rejected.
    """
    found: dict[str, Judged] = {}
    for number, value in objects(path, Findings(), ("text", "labels")):
        where = line_of(path, number)
        text = string(value["text"], "text", where)
        labels, rejected = (_names(value.get(key, []), key, where) for key in ("labels", "rejected"))
        both = sorted({*labels} & {*rejected})
        if both:
            raise DataError(
                f"{both[0]!r:.80} among the labels and the rejected ones", wanted="one of the two", where=where
            )
        found.pop(text, None)  # texts are in the order of their last lines
        found[text] = Judged(text, labels, rejected)
    return list(found.values())


def _mentions(path: Path, word: bytes) -> bool:
    """Whether a file holds these bytes, which may be cut in two between blocks."""
    end = b""
    for block in chunks(path, None):
        end += block
        if word in end:
            return True
        end = end[1 - len(word) :]
    return False


def _names(value: Any, key: str, where: str) -> list[str]:
    """The names, each once; DataError for other values."""
    if not isinstance(value, list):
        raise DataError(f"{value!r:.80} in {key!r}", wanted="a list of names of labels", where=where)
    for name in value:
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{name!r:.80} in {key!r}", wanted="names of labels", where=where)
    return list(dict.fromkeys(value))
