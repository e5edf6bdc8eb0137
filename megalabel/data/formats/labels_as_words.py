"""Labels of formats in which a label is one word: names where all of them are words, else ids.

With names, labels.txt keeps the order of the labels; with ids, Y.txt has the names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from megalabel.data.findings import Findings
from megalabel.data.formats.contract import Sink, Source
from megalabel.data.formats.output import drop_unseen, line_writer, single_lines, write_label_list
from megalabel.data.text_lines import find_file, read_text_lines
from megalabel.data.types import CorpusData, Split
from megalabel.data.vocabulary import Vocabulary

_OF_IDS = ("Y.txt", "output-labels.txt", "output-items.txt")

Labels = Callable[[list[str]], Sequence[object]]


def words_of(source: Source, findings: Findings) -> tuple[Vocabulary, Labels]:
    """The vocabulary beside the files, and a function that makes labels of the words of a row.

    Numbers are ids where a list of labels stands beside the file, unless it is labels.txt and lists them as names.
    """
    file = find_file(source.folder, "labels.txt", *_OF_IDS)
    if file is None:
        return Vocabulary(None, None, findings), lambda words: words
    listed = read_text_lines(file, findings)
    of_ids = file.name.removesuffix(".gz") in _OF_IDS
    names = frozenset() if of_ids else frozenset(listed)

    def labels(words: list[str]) -> Sequence[object]:
        if all(word in names for word in words) or not all(map(is_id, words)):
            return words
        return [int(word) for word in words]

    return Vocabulary(listed, file, findings), labels


def is_id(word: str) -> bool:
    """Whether a word is the number of a label."""
    return word.isascii() and word.isdigit() and len(word) < 19


def words_for(data: CorpusData, sink: Sink, format_name: str) -> list[str]:
    """Writes the list of labels, and returns the words that stand for them in the files: names or ids."""
    names = list(data.label_texts)
    if all(map(_is_word, names)) and len(set(names)) == len(names):
        write_label_list(data, sink)
        return names
    with line_writer(sink, "Y.txt") as put:
        for name in single_lines(names, sink, "label name"):
            put(name)
    sink.notes.append(f"labels are ids, lines of Y.txt counted from 0: {format_name} cannot hold these names")
    return [str(i) for i in range(len(names))]


def _is_word(name: str) -> bool:
    return len(name.split()) == 1 and name == name.strip() and "," not in name and not name.startswith("\ufeff")


def rows_of_words(data: CorpusData, split: Split, words: list[str], sink: Sink) -> Iterator[list[str]]:
    """The labels of each row as words, with the labels that have no column where they are words too."""
    unseen = split.unseen
    extra: dict[int, list[str]] = {}
    if unseen is not None and len(unseen):
        by_name = words == list(data.label_texts)
        if by_name and all(_is_word(name) and not is_id(name) for name in unseen.names):
            for row, name in zip(unseen.rows.tolist(), unseen.names, strict=True):
                extra.setdefault(row, []).append(name)
        else:
            drop_unseen(data, sink, "files whose labels are ids")
    for row, ids in enumerate(np.split(split.labels.indices, split.labels.indptr[1:-1])):
        yield [words[i] for i in ids.tolist()] + extra.get(row, [])
