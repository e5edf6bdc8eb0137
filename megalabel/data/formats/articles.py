"""One JSON object that holds an array of records, as the BioASQ and MESINESP tasks publish them.

`{"articles": [{"title": "...", "abstractText": "...", "decsCodes": ["..."]}, ...]}`: the only array of objects in
it holds the records. The text is `text`, or title and abstract (see `title_content`); the labels are the list
under the first of `KEYS` that the records have. The options of the fields name other keys.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Source
from megalabel.data.formats.jsonl import items, string
from megalabel.data.formats.title_content import TitleAndContent
from megalabel.data.records import Record, data_from_records
from megalabel.data.text_lines import blocks
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError

KEYS = ("labels", "decsCodes", "meshMajor", "meshTerms", "subjects", "codes", "tags", "target_ind")


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.json and, if it exists, test.json; each is held in memory as a whole."""
    choice = TitleAndContent(source.name, source.parts, source.separator)
    text_field = findings.options.text
    key = [findings.options.labels_field] if findings.options.labels_field else []

    def records(path: Path, found: Findings) -> Iterator[Record]:
        values = _array(path, found)
        message = "one JSON object, in memory as a whole while it is read; JSON lines are read in pieces"
        found.note("in-memory", path, message, severity="info")
        if not key:
            key.append(_labels_key(values, path))
            found.note("taken-labels", path, f"labels are those under {key[0]!r}", severity="info")
        for number, value in enumerate(values, 1):
            where = f"{path}, record {number}"
            try:
                text = _text(value, text_field, choice, where)
                labels = items(value.get(key[0], []), key[0], where)
            except DataError as error:
                found.error("type", path, error)
                continue
            if key[0] not in value:
                message = f"a record without {key[0]!r}, kept as a text without labels (the first: {number})"
                found.note("no-labels", path, message)
            yield Record(number, text, labels)

    data = data_from_records(source, records, Vocabulary.beside(source.folder, findings), findings)
    choice.note(source.train, findings)
    return data


def _text(value: dict[str, Any], field: str, choice: TitleAndContent, where: str) -> str:
    return string(value[field], field, where) if field in value else choice.text(value, where)


def _array(path: Path, findings: Findings) -> list[dict[str, Any]]:
    try:
        value = json.loads(b"".join(block for _, block in blocks(path, findings)))
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"does not parse as JSON ({str(error)[:80]})",
            wanted="one JSON object that holds an array of records",
            next_step="check that the file is complete",
            where=path,
        ) from error
    arrays = [v for v in value.values() if _records_in(v)] if isinstance(value, dict) else []
    if len(arrays) == 1:
        found: list[dict[str, Any]] = arrays[0]
        return found
    raise DataError(
        f"{len(arrays)} arrays of records",
        wanted='one, as in {"articles": [{"title": "...", "abstractText": "...", "decsCodes": ["..."]}]}',
        next_step="write JSON lines with the keys text and labels",
        where=path,
    )


def _records_in(value: object) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)


def _labels_key(values: list[dict[str, Any]], path: Path) -> str:
    for key in KEYS:
        if any(isinstance(value.get(key), list) for value in values):
            return key
    raise DataError(
        f"records with the keys {sorted(values[0])}"[:200],
        wanted=f"a list of labels under one of {', '.join(KEYS)}",
        next_step="name the key with labels_field (--labels-field)",
        where=path,
    )
