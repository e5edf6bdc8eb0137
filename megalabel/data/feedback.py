"""Reads feedback as `megalabel serve` stores it: JSON lines of texts with right and with rejected labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

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
    """Whether a file holds JSON lines of which the first has the keys of feedback."""
    if not path.is_file():
        return False
    try:
        _, first = next(json_values(path, Findings()), (0, None))
    except DataError:
        return False
    return isinstance(first, dict) and all(key in first for key in KEYS)


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


def _names(value: Any, key: str, where: str) -> list[str]:
    """The names, each once; DataError for other values."""
    if not isinstance(value, list):
        raise DataError(f"{value!r:.80} in {key!r}", wanted="a list of names of labels", where=where)
    for name in value:
        if not isinstance(name, str) or not name.strip():
            raise DataError(f"{name!r:.80} in {key!r}", wanted="names of labels", where=where)
    return list(dict.fromkeys(value))
