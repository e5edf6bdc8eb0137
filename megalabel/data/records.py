"""A data set from a stream of records, one text with its labels each: JSON lines, CSV, Parquet, Annif TSV."""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from megalabel.data.corpus import Corpus, Split, Unseen
from megalabel.data.findings import Findings
from megalabel.data.formats import Source
from megalabel.data.lines import empty, find
from megalabel.data.rows import LabelRows
from megalabel.data.sides import finish, note_unseen, refuse_wild_ids, split_of
from megalabel.data.texts import Texts, TextsBuilder
from megalabel.data.vocabulary import Vocabulary
from megalabel.errors import DataError, line_of


class Record(NamedTuple):
    """One text with its labels as the file has them, and the line (or row) it begins on, from 1."""

    line: int
    text: str
    labels: Sequence[object]


Reader = Callable[[Path, Findings], Iterator[Record]]


def corpus_of_records(
    source: Source,
    reader: Reader,
    vocabulary: Vocabulary,
    findings: Findings,
    label_texts: Texts | None = None,
) -> Corpus:
    """Reads both sides through one vocabulary, which learns from training alone.

    label_texts: names for the columns where the vocabulary's own are identifiers (Annif), else None.
    """
    texts, rows, _ = _side(reader(source.train, findings), source.train, vocabulary, findings)
    vocabulary.stop_learning()
    if not vocabulary.by_name and vocabulary.n_labels and find(source.folder, "labels.txt", "Y.txt") is None:
        refuse_wild_ids(rows, vocabulary.n_labels)
    n_labels = vocabulary.n_labels
    train = split_of(source, "trn", texts, rows, n_labels, findings, "training has")
    test: Split | None = None
    if source.test is not None:
        texts, rows, unseen = _side(reader(source.test, findings), source.test, vocabulary, findings)
        test = split_of(source, "tst", texts, rows, n_labels, findings, "training has", unseen)
    names, uris = vocabulary.names(), None
    if label_texts is not None:
        names, uris = label_texts, names
    return finish(Corpus(source.name, train, test, names, source.folder, uris), findings, source.train)


def _side(
    records: Iterator[Record], file: Path, vocabulary: Vocabulary, findings: Findings
) -> tuple[Texts, LabelRows, Unseen | None]:
    texts, ids, counts, lines = TextsBuilder(), array("q"), array("q"), array("q")
    lost_rows, lost_names = array("q"), TextsBuilder()
    blank, first_blank = 0, 0
    for line, text, labels in records:
        columns, unknown = vocabulary.columns(labels, file, line)
        try:
            texts.add_valid(text)
        except UnicodeEncodeError as error:
            findings.error("surrogate", file, surrogate(error, line_of(file, line)))
            texts.add(text.encode(errors="replace").decode())
        if not text.strip():
            blank, first_blank = blank + 1, first_blank or line
        for name in unknown:
            lost_rows.append(len(counts))
            lost_names.add(name)
        ids.extend(columns)
        counts.append(len(columns))
        lines.append(line)
    if not len(counts):
        raise nothing_good(file) if findings.has_error(file) else empty(file)
    if blank:
        findings.note("blank", file, "blank text, kept as an empty row", line=first_blank, count=blank)
    rows = LabelRows(file, _int64(ids), _int64(counts), _int64(lines))
    if not lost_rows:
        return texts.done(), rows, None
    unseen = Unseen(_int64(lost_rows), lost_names.done())
    note_unseen(findings, rows, int(unseen.rows[0]), unseen.names[0], len(unseen))
    return texts.done(), rows, unseen


def nothing_good(file: Path) -> DataError:
    """The error that ends a check after every line of a file was refused."""
    return DataError(
        "no line could be read",
        wanted="at least one good line",
        next_step="mend the errors found in it",
        where=file,
    )


def surrogate(error: UnicodeEncodeError, where: str | None) -> DataError:
    """The error for half a surrogate pair, which no tokenizer takes."""
    return DataError(
        f"the text holds half of a surrogate pair (U+{ord(error.object[error.start]):04X})",
        wanted="text of whole characters",
        next_step="repair it where it was made: it was probably cut in the middle of a character",
        where=where,
    )


def _int64(values: array[int]) -> np.ndarray:
    return np.frombuffer(values, dtype=np.int64) if len(values) else np.zeros(0, dtype=np.int64)
