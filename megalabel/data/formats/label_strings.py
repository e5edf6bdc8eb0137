"""Spartex's and LightXML's folder: train_raw_texts.txt with train_labels.txt, and the same for the test side.

A line of train_labels.txt holds label strings separated by spaces. Where all of them are numbers that count labels
without large gaps, they are ids, and a label has the column of its number; otherwise they are names, in the order
of their first appearance. The published code numbers labels in the order of their sorted strings, which matters to
no result. Eurlex-4K calls the texts train_texts.txt.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.formats.cascade_texts import MARK
from megalabel.data.formats.contract import Found, Source
from megalabel.data.formats.label_file import label_file
from megalabel.data.formats.labels_as_words import is_id
from megalabel.data.label_rows import LabelRows, check_count
from megalabel.data.records import Record, data_from_records
from megalabel.data.text_lines import find_file, lines, read_text_lines
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary

_NAMES = "{}_raw_texts.txt", "{}_texts.txt"


def find(folder: Path) -> Found | None:
    """The data set in a folder, or None."""
    train = find_file(folder, *(name.format("train") for name in _NAMES))
    if train is None or find_file(folder, "train_labels.txt") is None:
        return None
    return Found(folder, train, find_file(folder, *(name.format("test") for name in _NAMES)))


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads the folder."""
    by_id = are_ids(token for _, line in lines(_labels(source, source.train), findings) for token in line.split())

    def records(path: Path, found: Findings) -> Iterator[Record]:
        return _records(source, path, by_id, found)

    vocabulary = Vocabulary.beside(source.folder, findings)
    return data_from_records(source, records, vocabulary, findings)


def are_ids(labels: Iterator[str]) -> bool:
    """Whether labels are ids: numbers without leading zeros, of which at least every second one occurs."""
    distinct = set(labels)
    if not all(label.isascii() and label.isdigit() and label == str(int(label[:18])) for label in distinct):
        return False
    return bool(distinct) and max(map(int, distinct)) < 2 * len(distinct) + 16


def _labels(source: Source, file: Path) -> Path:
    side = "train" if file == source.train and source.only != "tst" else "test"
    row = "the labels of each text, separated by spaces"
    return label_file(source, file, f"{side}_labels.txt", row)


def _records(source: Source, path: Path, by_id: bool, findings: Findings) -> Iterator[Record]:
    texts, file = read_text_lines(path, findings), _labels(source, path)
    rows = [line.split() for _, line in lines(file, Findings(options=findings.options))]
    _check(texts, path, rows, file)
    for number, (text, row) in enumerate(zip(texts, rows, strict=True), 1):
        ids = by_id and all(map(is_id, row))
        yield Record(number, clean(text, source.separator), [int(label) for label in row] if ids else row)


def clean(text: str, separator: str | None) -> str:
    """One text with a separator, if there is one, in place of the mark between title and content."""
    return text if separator is None else text.replace(MARK, separator)


def _check(texts: object, path: Path, rows: list[list[str]], file: Path) -> None:
    import numpy as np

    counts = np.array([len(row) for row in rows], dtype=np.int64)
    zeros = np.zeros(int(counts.sum()), dtype=np.int64)
    check_count(texts, path, LabelRows(file, zeros, counts, np.arange(1, len(rows) + 1)))  # type: ignore[arg-type]
