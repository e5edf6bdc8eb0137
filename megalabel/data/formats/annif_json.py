"""Annif's JSON lines: `{"text": "...", "subjects": [{"uri": "...", "label": "..."}]}`.

With a vocabulary beside the file (see `subjects`), labels are its URIs. Without one, labels get columns in the
order of their first appearance, and the label in the record is the name. A subject may also be a string, which is
a URI.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Source
from megalabel.data.formats.jsonl import items, objects, string
from megalabel.data.formats.subjects import Subjects, read_vocabulary, uri_of, vocabulary_file
from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.records import Record, data_from_records
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, line_of


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.jsonl and, if it exists, test.jsonl."""
    names: dict[str, str] = {}

    def records(path: Path, found: Findings) -> Iterator[Record]:
        return _records(path, names, found)

    file = vocabulary_file(source.folder)
    if file is not None:
        listed, metadata = read_vocabulary(file, findings)
        return data_from_records(source, records, Subjects(metadata, file, findings), findings, listed, metadata)
    vocabulary = Vocabulary(None, None, findings)
    data = data_from_records(source, records, vocabulary, findings)
    return _named(data, names)


def _records(path: Path, names: dict[str, str], findings: Findings) -> Iterator[Record]:
    for number, value in objects(path, findings, ("text", "subjects")):
        where = line_of(path, number)
        try:
            labels = []
            for subject in items(value["subjects"], "subjects", where):
                uri, name = _subject(subject, where)
                names.setdefault(uri, name)
                labels.append(uri)
            yield Record(number, string(value["text"], "text", where), labels)
        except DataError as error:
            findings.error("type", path, error)


def _subject(value: object, where: str) -> tuple[str, str]:
    """The identifier and the name of one subject; a subject without a URI is identified by its label."""
    if isinstance(value, str) and value:
        uri = uri_of(value) or value
        return uri, uri
    if isinstance(value, dict):
        given, label = value.get("uri"), value.get("label")
        shown = label if isinstance(label, str) else ""
        key = given if isinstance(given, str) and given else shown
        if key:
            return uri_of(key) or key, shown or key
    raise DataError(
        f"the subject {str(value)[:60]}",
        wanted='{"uri": "...", "label": "..."}, or a URI',
        where=where,
    )


def _named(data: CorpusData, names: dict[str, str]) -> CorpusData:
    uris = list(data.label_texts)
    return replace(
        data,
        label_texts=Texts.from_strings(names[uri] for uri in uris),
        metadata=LabelMetadata(len(uris), Texts.from_strings(uris)),
    )
