"""fastText's files: lines `__label__a __label__b text`; labels may also stand within or after the text.

Where a list of labels (labels.txt, Y.txt) stands beside the file and the labels are numbers, they are ids.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.labels_as_words import as_ids_if_listed, rows_of_words, write_list_if_needed
from megalabel.data.formats.output import line_writer, single_lines, write_filters
from megalabel.data.formats.sniff import LABEL
from megalabel.data.records import Record, data_from_records
from megalabel.data.text_lines import lines
from megalabel.data.types import CorpusData
from megalabel.data.vocabulary import Vocabulary


def read(source: Source, findings: Findings) -> CorpusData:
    """Reads train.txt and, if it exists, test.txt."""
    vocabulary = Vocabulary.beside(source.folder, findings)

    def records(path: Path, found: Findings) -> Iterator[Record]:
        for number, line in lines(path, found):
            words = line.split()
            if not words:
                found.note("blank-line", path, "blank line, ignored", line=number)
                continue
            labels = [word.removeprefix(LABEL) for word in words if word.startswith(LABEL)]
            text = line.strip()
            if labels:
                while text.startswith(LABEL):  # what follows the labels is kept with its own blanks
                    text = (text.split(maxsplit=1)[1:] or [""])[0]
                if any(word.startswith(LABEL) for word in text.split()):
                    text = " ".join(word for word in text.split() if not word.startswith(LABEL))
            yield Record(number, text, as_ids_if_listed(labels, vocabulary))

    return data_from_records(source, records, vocabulary, findings)


def write(data: CorpusData, sink: Sink) -> None:
    """Writes the files. Labels that are not single words are written as ids, with labels.txt beside."""
    words = write_list_if_needed(data, sink, "fastText")
    for name, split in (("train", data.train), ("test", data.test)):
        if split is None:
            continue
        texts = single_lines(split.texts, sink, "training text" if name == "train" else "test text")
        with line_writer(sink, f"{name}.txt") as put:
            for text, labels in zip(texts, rows_of_words(data, split, words, sink), strict=True):
                put(" ".join([*(LABEL + label for label in labels), text]))
    write_filters(data, sink)
