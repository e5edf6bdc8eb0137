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

from megalabel.data.assembly import check_data, check_largest_id, make_split, unseen_ids
from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Found, Source
from megalabel.data.formats.raw import without_header
from megalabel.data.label_rows import LabelRows, check_count, read_label_rows
from megalabel.data.text_lines import find_file, read_text_lines
from megalabel.data.texts import Texts, TextsBuilder
from megalabel.data.types import CorpusData, Split
from megalabel.errors import DataError

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
    label_file = find_file(source.folder, "Y.txt", "Yf.txt", "labels.txt")
    names = read_text_lines(label_file, findings) if label_file else None
    texts, rows, header = _side(source, source.train, "trn", separator, findings)
    if names is not None and label_file is not None:
        n_labels, known_from = len(names), f"{label_file.name} has"
    else:
        n_labels, known_from = header or int(rows.ids.max(initial=-1)) + 1, "training has"
        check_largest_id(rows, n_labels)
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
    return check_data(data, findings, label_file or rows.file)


def _side(
    source: Source, file: Path, side: str, separator: str, findings: Findings
) -> tuple[Texts, LabelRows, int | None]:
    labels = find_file(source.folder, f"Y.{side}.txt")
    if labels is None:
        raise DataError(
            f"{file.name} exists, but Y.{side}.txt does not",
            wanted=f"Y.{side}.txt (or .gz) with the label ids of each text, separated by commas",
            where=source.folder,
        )
    texts = cleaned(read_text_lines(file, findings), separator)
    rows, colons = read_label_rows(labels, findings)
    rows, n_labels = without_header(rows, colons, len(texts))
    check_count(texts, file, rows)
    return texts, rows, n_labels


def cleaned(texts: Texts, separator: str) -> Texts:
    """The texts as CascadeXML cleans them."""
    made, between = TextsBuilder(), f" {separator} "
    for text in texts:
        text = text.replace("_", " ")
        made.add(re.sub(r"\s{2,}", " ", text.replace(MARK, between) if MARK in text else text).strip())
    return made.done()
