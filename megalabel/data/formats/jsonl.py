"""JSON lines: `{"text": "...", "labels": [...]}`, with labels as names or as ids; other keys are ignored.

One array of such objects, and objects over several lines, are read as well. Where there is no key `labels`, a key
`label` is read, whose value may be a single name or id; without that too, keys with zeros and ones in every object
are one label each, called by the key.

Names get ids in the order of their first appearance in training, or by their line in labels.txt (or Y.txt) if that
file exists.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.flag_columns import flag_columns, flag_vocabulary, flagged, note_flags
from megalabel.data.formats.output import (
    line_writer,
    more_fields,
    texts_with_labels,
    write_filters,
    write_label_list,
)
from megalabel.data.formats.table_header import LABEL, has_columns, note_label
from megalabel.data.json_values import json_values
from megalabel.data.records import Record, data_from_records
from megalabel.data.separators import split_cell
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.jsonl and, if it exists, test.jsonl."""
    flags = _flags(source.train, findings)
    vocabulary = flag_vocabulary(flags, Vocabulary.beside(source.folder, findings), source.train, findings)
    reader = partial(flag_records, names=flags) if flags else records
    return data_from_records(source, reader, vocabulary, findings)


def _flags(path: Path, findings: Findings) -> list[str]:
    """The keys that hold only zeros and ones, where the first object has no key of labels."""
    options = findings.options
    objects = (value for _, value in json_values(path, Findings(collect=True, options=options)))
    first = next(objects, None)
    if not isinstance(first, dict) or options.text not in first:
        return []
    if options.labels_field is not None or has_columns(list(first), options):
        return []
    header = list(first)
    rows = ([value.get(key) for key in header] for value in chain([first], objects) if isinstance(value, dict))
    names = flag_columns(header, rows, header.index(options.text), options.row_fields(usual=False))
    if names:
        note_flags(names, header, header.index(options.text), path, findings)
    return names


def flag_records(path: Path, findings: Findings, names: Sequence[str]) -> Iterator[Record]:
    """Yields the text of each line, and the keys among `names` that have a one."""
    text = findings.options.text
    for number, value in objects(path, findings, (text,)):
        where = line_of(path, number)
        row = [value.get(name, "missing") for name in names]
        try:
            more = weight_and_source(value, findings, usual=False)
            marked = string(value[text], text, where), flagged(row, names, range(len(names)), where)
            yield Record(number, *marked, *more)
        except DataError as error:
            findings.error("row", path, error)


def objects(path: Path, findings: Findings, keys: tuple[str, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yields each object with the number of its line; blank lines are noted and ignored.

    Raises:
        DataError: a line is not JSON, is not an object, or lacks one of `keys`.
    """
    for number, value in json_values(path, findings):
        missing = [k for k in keys if k not in value] if isinstance(value, dict) else list(keys)
        if missing == ["labels"] and LABEL in value and findings.options.labels_field is None:
            missing = []
        if missing:
            found = f"keys {sorted(value)}" if isinstance(value, dict) else f"a JSON {_kind(value)}"
            findings.error(
                "keys",
                path,
                DataError(
                    f"{found[:200]}, without {' and '.join(repr(k) for k in missing)}",
                    wanted=f"an object with the keys {', '.join(keys)}",
                    next_step=_other_keys(value, keys),
                    where=line_of(path, number),
                ),
            )
            continue
        yield number, value


def string(value: Any, key: str, where: str) -> str:
    """Returns the value if it is a string; else raises DataError."""
    if isinstance(value, str):
        return value
    step = None
    if isinstance(value, dict):
        step = "pandas writes lines with: df.to_json(path, orient='records', lines=True)"
    raise DataError(f"{key!r} is a JSON {_kind(value)}", wanted="a string", next_step=step, where=where)


def items(value: Any, key: str, where: str) -> list[Any]:
    """Returns the value if it is a list; else raises DataError."""
    if isinstance(value, list):
        return value
    steps = {
        str: "if it holds several labels, say what separates them: label_separator (--label-separator)",
        dict: "labels have no scores: list those whose score is high enough",
        int: "write [3] for a single label",
    }
    raise DataError(
        f"{key!r} is a JSON {_kind(value)}",
        wanted="a list, [] for a text without labels",
        next_step=steps.get(type(value)),
        where=where,
    )


def records(path: Path, findings: Findings) -> Iterator[Record]:
    """Yields the text and the labels of each line."""
    text, labels = findings.options.text, findings.options.labels
    for number, value in objects(path, findings, (text, labels)):
        where = line_of(path, number)
        key, found = _labels(value, path, findings)
        try:
            more = weight_and_source(value, findings)
            yield Record(number, string(value[text], text, where), items(found, key, where), *more)
        except DataError as error:
            findings.error("type", path, error)


def weight_and_source(value: dict[str, Any], findings: Findings, usual: bool = True) -> tuple[object, object]:
    """The weight and the source of an object as they stand there; None where there is none."""
    fields = findings.options.row_fields(usual)
    weight, source = (None if name is None else value.get(name) for name in fields)
    return weight, source


def _labels(value: dict[str, Any], path: Path, findings: Findings) -> tuple[str, Any]:
    """The key of the labels of an object and what stands there, as a list where it can only be one label."""
    options, key = findings.options, findings.options.labels
    if key not in value:  # `objects` has seen that there is a `label`
        key = LABEL
        note_label(path, findings)
    found = value[key]
    if isinstance(found, str) and options.label_separator is not None:
        return key, split_cell(found.strip(), options.label_separator) if found.strip() else []
    if isinstance(found, str) and key == LABEL:
        return key, [found] if found.strip() else []
    return key, [found] if type(found) is int and (key == LABEL or options.labels_field) else found


def _other_keys(value: Any, keys: tuple[str, ...]) -> str:
    """What to do about an object without the wanted keys."""
    if isinstance(value, dict) and "score_type" in value:
        return "measure predictions by `megalabel evaluate PREDICTIONS DATA`: they hold no texts"
    if isinstance(value, dict):
        lists = [key for key, inner in value.items() if isinstance(inner, list) and inner]
        if len(lists) == 1 and isinstance(value[lists[0]][0], dict):
            return f"take the objects out of the document with: jq -c '.{lists[0]}[]'"
        if keys == ("text", "labels"):
            return "name the keys as text_field and labels_field (--text-field, --labels-field), or rename them"
    return "rename the keys, or check that this is the right file"


def _kind(value: Any) -> str:
    kinds = {dict: "object", list: "array", str: "string", bool: "boolean", type(None): "null"}
    return kinds.get(type(value), "number")


def write(data: CorpusData, sink: Sink) -> None:
    """Writes JSON lines with label names if these are all different, else with ids; labels.txt keeps the order."""
    write_label_list(data, sink)
    for name, split in (("train", data.train), ("test", data.test)):
        if split is not None:
            with line_writer(sink, f"{name}.jsonl") as put:
                rest = more_fields(split)
                for (text, labels), more in zip(texts_with_labels(data, split, sink), rest, strict=True):
                    put(json.dumps({"text": text, "labels": labels, **more}, ensure_ascii=False))
    write_filters(data, sink)
