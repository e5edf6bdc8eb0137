"""Annif's TSV: lines `text<TAB><uri> <uri> ...`, with a vocabulary of URIs and names; see `subjects`.

A label is identified by its URI, and its text is the name in the vocabulary. A URI of a training text that is not
in the vocabulary is skipped and counted, as Annif does.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.output import drop_unseen, line_writer, single_lines, write_filters
from megalabel.data.formats.subjects import Subjects, needed_vocabulary_file, read_vocabulary, uri_of
from megalabel.data.records import Record, data_from_records
from megalabel.data.text_lines import lines
from megalabel.data.texts import Texts
from megalabel.data.types import CorpusData, Split
from megalabel.errors import DataError, line_of

_URI = re.compile(r"[^\s<>]+")


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.tsv, the vocabulary and, if it exists, test.tsv."""
    file = needed_vocabulary_file(source.folder, source.train.name)
    names, metadata = read_vocabulary(file, findings)
    return data_from_records(source, records, Subjects(metadata, file, findings), findings, names, metadata)


def records(path: Path, findings: Findings) -> Iterator[Record]:
    """Yields the text and the URIs of each line."""
    for number, line in lines(path, findings):
        if not line.strip() and "\t" not in line:  # a line with a tab is an empty text without labels
            findings.note("blank-line", path, "blank line, ignored", line=number)
            continue
        text, tab, rest = line.partition("\t")
        uris = [uri_of(token) for token in rest.split()]
        plain = next((token for token in rest.split() if not token.startswith("<") and ":" not in token), None)
        if not tab or None in uris or plain is not None:
            found = f"{plain or rest[:60]!r} after the first tab is not a URI" if tab else "no tab on the line"
            error = DataError(
                found,
                wanted="the text without tabs, one tab, then `<uri>`s separated by spaces or tabs",
                next_step="replace tabs inside the text by spaces",
                where=line_of(path, number),
            )
            findings.error("line", path, error)
            continue
        yield Record(number, text, uris)


def write(data: CorpusData, sink: Sink) -> None:
    """Writes the TSV files; labels without URIs get the URIs `urn:label:ID`."""
    given = data.label_uris or Texts.blank(data.n_labels)
    uris = [uri or f"urn:label:{i}" for i, uri in enumerate(given)]
    names = single_lines(data.label_texts, sink, "label name", tabs=False)
    known = (data.metadata.notations if data.metadata else None) or Texts.blank(data.n_labels)
    notations = single_lines(known, sink, "notation", tabs=False)
    with line_writer(sink, "vocab.tsv") as put:
        for uri, name, notation in zip(uris, names, notations, strict=True):
            put(f"<{uri}>\t{name}" + (f"\t{notation}" if notation else ""))
    for side, split in (("train", data.train), ("test", data.test)):
        if split is None:
            continue
        extra = _unseen(data, split, sink)
        rows = np.split(split.labels.indices, split.labels.indptr[1:-1])
        texts = single_lines(split.texts, sink, f"{side} text", tabs=False)
        with line_writer(sink, f"{side}.tsv") as put:
            for row, (text, ids) in enumerate(zip(texts, rows, strict=True)):
                own = [uris[i] for i in ids.tolist()] + extra.get(row, [])
                put(f"{text}\t{' '.join(f'<{uri}>' for uri in own)}")
    write_filters(data, sink)


def _unseen(data: CorpusData, split: Split, sink: Sink) -> dict[int, list[str]]:
    """The labels without a column of each row, if they are URIs themselves."""
    extra: dict[int, list[str]] = {}
    if split.unseen is None:
        return extra
    if not all(_URI.fullmatch(name) and ":" in name for name in split.unseen.names):
        drop_unseen(data, sink, "Annif TSV, whose labels are URIs,")
        return extra
    for row, name in zip(split.unseen.rows.tolist(), split.unseen.names, strict=True):
        extra.setdefault(row, []).append(name)
    return extra
