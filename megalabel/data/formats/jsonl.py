"""JSON lines: `{"text": "...", "labels": [...]}`, with labels as names or as ids; other keys are ignored.

Names get ids in the order of their first appearance in training, or by their line in labels.txt (or Y.txt) if that
file exists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.output import line_writer, texts_with_labels, write_filters, write_label_list
from megalabel.data.records import Record, data_from_records
from megalabel.data.text_lines import lines
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.jsonl and, if it exists, test.jsonl."""
    return data_from_records(source, records, Vocabulary.beside(source.folder, findings), findings)


def objects(path: Path, findings: Findings, keys: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields the object of each line with the line number; blank lines are noted and ignored.

    Raises:
        DataError: a line is not JSON, is not an object, or lacks one of `keys`.
    """
    for number, line in lines(path, findings):
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            if not line.strip():
                findings.note("blank-line", path, "blank line, ignored", line=number)
                continue
            at = f" at character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deeply"
            findings.error(
                "json",
                path,
                DataError(
                    f"does not parse as JSON ({reason}{at})",
                    wanted="one JSON object per line",
                    next_step="convert a file that is one JSON array with: jq -c '.[]'",
                    where=line_of(path, number),
                ),
            )
            continue
        missing = [k for k in keys if k not in value] if isinstance(value, dict) else list(keys)
        if missing:
            found = f"keys {sorted(value)}" if isinstance(value, dict) else f"a JSON {_kind(value)}"
            findings.error(
                "keys",
                path,
                DataError(
                    f"{found[:200]}, without {' and '.join(repr(k) for k in missing)}",
                    wanted=f"an object with the keys {', '.join(keys)}",
                    next_step="rename the keys, or check that this is the right file",
                    where=line_of(path, number),
                ),
            )
            continue
        yield number, value


def string(value: Any, key: str, where: str) -> str:
    """Returns the value if it is a string; else raises DataError."""
    if isinstance(value, str):
        return value
    raise DataError(f"{key!r} is a JSON {_kind(value)}", wanted="a string", where=where)


def items(value: Any, key: str, where: str) -> list[Any]:
    """Returns the value if it is a list; else raises DataError."""
    if isinstance(value, list):
        return value
    raise DataError(
        f"{key!r} is a JSON {_kind(value)}", wanted="a list, [] for a text without labels", where=where
    )


def records(path: Path, findings: Findings) -> Iterator[Record]:
    """Yields the text and the labels of each line."""
    for number, value in objects(path, findings, ("text", "labels")):
        where = line_of(path, number)
        try:
            yield Record(number, string(value["text"], "text", where), items(value["labels"], "labels", where))
        except DataError as error:
            findings.error("type", path, error)


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")


def write(data: CorpusData, sink: Sink) -> None:
    """Writes JSON lines with label names if these are all different, else with ids; labels.txt keeps the order."""
    write_label_list(data, sink)
    for name, split in (("train", data.train), ("test", data.test)):
        if split is not None:
            with line_writer(sink, f"{name}.jsonl") as put:
                for text, labels in texts_with_labels(data, split, sink):
                    put(json.dumps({"text": text, "labels": labels}, ensure_ascii=False))
    write_filters(data, sink)
