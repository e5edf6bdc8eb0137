"""CascadeXML's folder: train_raw_texts.txt with Y.trn.txt, and the same for the test side.

A line of Y.trn.txt holds label ids separated by commas, or by spaces as before 2024. Texts are cleaned as the
published code does: underscores become spaces, runs of white space become one, and the mark `/SEP/` of the Amazon
data sets, which stands between title and content, becomes `[SEP]`. The bag of words in train.txt, of which the
published code builds the label tree, is not read: `megalabel tree build --format xmlrepo` reads it.

Label names come from Y.txt, Yf.txt or labels.txt; without these the ids serve as names.
"""

from __future__ import annotations

import re
from pathlib import Path

from megalabel.data.assembly import check_data, make_split, unseen_ids
from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Found, Source
from megalabel.data.formats.label_file import count_labels, label_file, label_rows
from megalabel.data.label_rows import LabelRows
from megalabel.data.text_lines import find_file, read_text_lines
from megalabel.data.texts import Texts, TextsBuilder
from megalabel.data.types import CorpusData, Split

MARK, SEPARATOR = "/SEP/", "[SEP]"


def find(folder: Path) -> Found | None:
    """The data set in a folder, or None."""
    train = find_file(folder, "train_raw_texts.txt")
    if train is None or find_file(folder, "Y.trn.txt") is None:
        return None
    return Found(folder, train, find_file(folder, "test_raw_texts.txt"))


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads the folder."""
    separator = SEPARATOR if source.separator is None else source.separator
    file = find_file(source.folder, "Y.txt", "Yf.txt", "labels.txt")
    names = read_text_lines(file, findings) if file else None
    texts, rows, header = _side(source, source.train, source.only or "trn", separator, findings)
    n_labels, known_from = count_labels(rows, header, names, file)
    train = make_split(source, "trn", texts, rows, n_labels, findings, known_from)
    test: Split | None = None
    if source.test is not None:
        test_texts, test_rows, _ = _side(source, source.test, "tst", separator, findings)
        unseen = None
        if names is None:
            test_rows, unseen = unseen_ids(test_rows, n_labels, findings)
        test = make_split(source, "tst", test_texts, test_rows, n_labels, findings, known_from, unseen)
    names = Texts.numbers(n_labels) if names is None else names
    data = CorpusData(source.name, train, test, names, source.folder)
    return check_data(data, findings, file or rows.file)


def _side(
    source: Source, file: Path, side: str, separator: str, findings: Findings
) -> tuple[Texts, LabelRows, int | None]:
    row = "the label ids of each text, separated by commas"
    labels = label_file(source, file, f"Y.{side}.txt", row)
    texts = cleaned(read_text_lines(file, findings), separator)
    rows, n_labels = label_rows(labels, file, texts, findings)
    return texts, rows, n_labels


def cleaned(texts: Texts, separator: str) -> Texts:
    """The texts as CascadeXML cleans them."""
    made = TextsBuilder()
    for text in texts:
        made.add(clean(text, separator))
    return made.done()


def clean(text: str, separator: str = SEPARATOR) -> str:
    """One text as CascadeXML cleans it; `separator` takes the place of the mark between title and content."""
    text = text.replace("_", " ")
    return re.sub(r"\s{2,}", " ", text.replace(MARK, f" {separator} ") if MARK in text else text).strip()
