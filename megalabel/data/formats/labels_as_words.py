"""Labels of formats in which a label is one word: names where all of them are words, else ids and labels.txt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np

from megalabel.data.formats.contract import Sink
from megalabel.data.formats.output import drop_unseen, write_label_list
from megalabel.data.types import CorpusData, Split
from megalabel.data.vocabulary import Vocabulary


def as_ids_if_listed(labels: list[str], vocabulary: Vocabulary) -> list[int] | list[str]:
    """The labels of a row as ids where a list of labels stands beside the file and all of them are numbers."""
    if vocabulary.listed is not None and all(
        label.isascii() and label.isdigit() and len(label) < 19 for label in labels
    ):
        return [int(label) for label in labels]
    return labels


def write_list_if_needed(data: CorpusData, sink: Sink, format_name: str) -> list[str]:
    """The words that stand for the labels in the files; writes labels.txt where these are ids."""
    names = list(data.label_texts)
    if all(map(is_word, names)) and len(set(names)) == len(names):
        return names
    write_label_list(data, sink)
    sink.notes.append(
        f"labels are written as ids, lines of labels.txt from 0: {format_name} has no blanks in names"
    )
    return [str(i) for i in range(len(names))]


def is_word(name: str) -> bool:
    """Whether a label name is one word that is not a number, so that it can be told from an id."""
    return len(name.split()) == 1 and name == name.strip() and not name.isdigit() and "," not in name


def rows_of_words(data: CorpusData, split: Split, words: list[str], sink: Sink) -> Iterator[list[str]]:
    """The labels of each row as words, with the labels that have no column where they are words too."""
    unseen = split.unseen
    extra: dict[int, list[str]] = {}
    if unseen is not None and len(unseen):
        if words and not words[0].isdigit() and all(map(is_word, unseen.names)):
            for row, name in zip(unseen.rows.tolist(), unseen.names, strict=True):
                extra.setdefault(row, []).append(name)
        else:
            drop_unseen(data, sink, "labels written as ids")
    rows: Iterable[np.ndarray] = np.split(split.labels.indices, split.labels.indptr[1:-1])
    for row, ids in enumerate(rows):
        yield [words[i] for i in ids.tolist()] + extra.get(row, [])
