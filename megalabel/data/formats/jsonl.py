"""JSON lines: `{"text": "...", "labels": [...]}`, labels as names or as ids; other keys are left alone.

Names get ids by first appearance in training, or by their line in labels.txt (or Y.txt) if it is there.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalabel.data.corpus import Corpus
from megalabel.data.findings import Findings
from megalabel.data.formats import Sink, Source
from megalabel.data.lines import lines
from megalabel.data.records import Record, corpus_of_records
from megalabel.data.vocabulary import Vocabulary
from megalabel.data.writing import line_writer, write_filters, write_label_list, written_rows
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> Corpus:
    """Reads train.jsonl and, if there, test.jsonl."""
    return corpus_of_records(source, records, Vocabulary.beside(source.folder, findings), findings)


def objects(path: Path, findings: Findings, keys: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Each line's object with its line number; blank lines are noted and passed over.

    Raises:
        DataError: a line that is not JSON, not an object, or lacks one of `keys`.
    """
    for number, line in lines(path, findings):
        try:
            value = json.loads(line)
        except (json.JSONDecodeError, RecursionError) as error:
            if not line.strip():
                findings.note("blank-line", path, "blank line, passed over", line=number)
                continue
            at = f" at character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
            reason = error.msg if isinstance(error, json.JSONDecodeError) else "nested too deep"
            findings.error(
                "json",
                path,
                DataError(
                    f"does not parse as JSON ({reason}{at})",
                    wanted="one JSON object a line",
                    next_step="correct the line; one JSON array becomes lines with: jq -c '.[]'",
                    where=line_of(path, number),
                ),
            )
            continue
        missing = [k for k in keys if k not in value] if isinstance(value, dict) else list(keys)
        if missing:
            there = f"keys {sorted(value)}" if isinstance(value, dict) else f"a JSON {_kind(value)}"
            findings.error(
                "keys",
                path,
                DataError(
                    f"{there[:200]}, without {' and '.join(repr(k) for k in missing)}",
                    wanted=f"an object with the keys {', '.join(keys)}",
                    next_step="rename the keys, or check that this is the right file",
                    where=line_of(path, number),
                ),
            )
            continue
        yield number, value


def string(value: Any, key: str, where: str) -> str:
    """The value if it is a string, else DataError."""
    if isinstance(value, str):
        return value
    raise DataError(f"{key!r} is a JSON {_kind(value)}", wanted="a string", next_step="correct it", where=where)


def items(value: Any, key: str, where: str) -> list[Any]:
    """The value if it is a list, else DataError."""
    if isinstance(value, list):
        return value
    step = "put labels into a list, [] where a text has none"
    raise DataError(f"{key!r} is a JSON {_kind(value)}", wanted="a list", next_step=step, where=where)


def records(path: Path, findings: Findings) -> Iterator[Record]:
    """Each line's text and labels."""
    for number, value in objects(path, findings, ("text", "labels")):
        where = line_of(path, number)
        try:
            yield Record(number, string(value["text"], "text", where), items(value["labels"], "labels", where))
        except DataError as error:
            findings.error("type", path, error)


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")


def write(corpus: Corpus, sink: Sink) -> None:
    """Writes JSON lines; names where they tell the labels apart, else ids. labels.txt keeps the order."""
    write_label_list(corpus, sink)
    for name, split in (("train", corpus.train), ("test", corpus.test)):
        if split is not None:
            with line_writer(sink, f"{name}.jsonl") as put:
                for text, labels in written_rows(corpus, split, sink):
                    put(json.dumps({"text": text, "labels": labels}, ensure_ascii=False))
    write_filters(corpus, sink)
