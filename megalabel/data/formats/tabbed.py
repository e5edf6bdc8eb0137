"""Text files with labels before a tab: LibMultiLabel's, and those of PECOS's text2text.

LibMultiLabel's lines are `labels<TAB>text` or `id<TAB>labels<TAB>text`, with labels separated by blanks; see
`labels_as_words` for lists of labels beside the files. text2text's lines are `id,id<TAB>text`, where ids are lines
of output-labels.txt counted from 0.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.labels_as_words import is_id, rows_of_words, words_for, words_of
from megalabel.data.formats.output import line_writer, single_lines, write_filters
from megalabel.data.records import Record, data_from_records
from megalabel.data.text_lines import find_file, lines
from megalabel.data.types import CorpusData
from megalabel.errors import DataError, line_of

_IDS = re.compile(r"(\d{1,18}(,\d{1,18})*)?")


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.txt and, if it exists, test.txt."""
    vocabulary, made = words_of(source, findings)
    column, ids = _form(source.train, findings)
    what = "ids separated by commas" if ids else "names separated by blanks"
    message = f"the labels in column {column + 1} are {what}"
    findings.note("taken-columns", source.train, message, severity="info")

    def records(path: Path, found: Findings) -> Iterator[Record]:
        for number, line in lines(path, found):
            if not line:
                found.note("blank-line", path, "blank line, ignored", line=number)
                continue
            cells = line.split("\t", column + 1)
            if len(cells) < column + 2:
                error = DataError(
                    f"{len(cells) - 1} tabs on the line",
                    wanted=f"{'an id, a tab, ' if column else ''}labels, a tab and the text",
                    next_step="write nothing before the tab of a text without labels",
                    where=line_of(path, number),
                )
                found.error("tabs", path, error)
                continue
            words = (cells[column].replace(",", " ") if ids else cells[column]).split()
            numbers = ids and all(map(is_id, words))
            yield Record(number, cells[column + 1], [int(word) for word in words] if numbers else made(words))

    return data_from_records(source, records, vocabulary, findings)


def _form(file: Path, findings: Findings) -> tuple[int, bool]:
    """The column of the labels, and whether these are ids separated by commas."""
    three, ids, several = True, True, False
    for _, line in lines(file, Findings(collect=True, options=findings.options)):
        if line.strip():
            cells = line.split("\t")
            three = three and len(cells) == 3
            ids = ids and _IDS.fullmatch(cells[0].strip()) is not None
            several = several or "," in cells[0]
    if three and not several:
        return 1, False
    return 0, ids and (several or find_file(file.parent, "output-labels.txt", "output-items.txt") is not None)


def write(data: CorpusData, sink: Sink) -> None:
    """Writes `id<TAB>labels<TAB>text`. Labels that are not single words are written as ids."""
    words = words_for(data, sink, "LibMultiLabel")
    for name, split in (("train", data.train), ("test", data.test)):
        if split is None:
            continue
        texts = single_lines(split.texts, sink, "training text" if name == "train" else "test text", tabs=False)
        with line_writer(sink, f"{name}.txt") as put:
            for row, (text, labels) in enumerate(zip(texts, rows_of_words(data, split, words, sink), strict=True)):
                put(f"{row}\t{' '.join(labels)}\t{text}")
    write_filters(data, sink)
