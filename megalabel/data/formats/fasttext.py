"""fastText's files: lines `__label__a __label__b text`; labels may also be within or after the text.

A blank line is an empty text without labels. See `labels_as_words` for lists of labels beside the files.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.labels_as_words import rows_of_words, words_for, words_of
from megalabel.data.formats.output import cannot_hold, line_writer, single_lines, write_filters
from megalabel.data.formats.sniff import LABEL
from megalabel.data.records import Record, data_from_records
from megalabel.data.text_lines import lines
from megalabel.data.types import CorpusData

_FIRST = re.compile(rf"({LABEL}\S+(\s|$))+")


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.txt and, if it exists, test.txt."""
    vocabulary, made = words_of(source, findings)

    def records(path: Path, found: Findings) -> Iterator[Record]:
        for number, line in lines(path, found):
            words = [word.removeprefix(LABEL) for word in line.split() if word.startswith(LABEL)]
            first = _FIRST.match(line)
            text = line[first.end() :] if first else line
            if LABEL in text:
                text = " ".join(word for word in text.split() if not word.startswith(LABEL))
            yield Record(number, text, made([word for word in words if word]))

    return data_from_records(source, records, vocabulary, findings)


def write(data: CorpusData, sink: Sink) -> None:
    """Writes the files. Labels that are not single words are written as ids."""
    words = words_for(data, sink, "fastText")
    for name, split in (("train", data.train), ("test", data.test)):
        if split is None:
            continue
        what = "training text" if name == "train" else "test text"
        texts = single_lines(split.texts, sink, what)
        with line_writer(sink, f"{name}.txt") as put:
            for row, (text, labels) in enumerate(zip(texts, rows_of_words(data, split, words, sink), strict=True)):
                put(" ".join([*(LABEL + label for label in labels), _without_labels(text, row, what, sink)]))
    write_filters(data, sink)


def _without_labels(text: str, row: int, what: str, sink: Sink) -> str:
    """The text, in which no word may begin as labels do."""
    if LABEL not in text:
        return text
    if not sink.lossy:
        raise cannot_hold(f"{what} {row} (counted from 0) holds {LABEL!r}", f"texts without {LABEL!r}")
    note = f"{LABEL!r} within texts is now 'label'"
    sink.notes += [] if note in sink.notes else [note]
    return text.replace(LABEL, "label ")
