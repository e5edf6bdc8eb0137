"""What may make true labels hard to find: attributes of each pair of a text and a true label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from megalabel.reporting.subject import Subject
from megalabel.reporting.words import counted

_WORD = re.compile(r"\w+")
READ = 10_000  # characters of a text that are searched for the words of labels


class Attribute(NamedTuple):
    """A number per pair of a text and a true label, by which groups of pairs are formed.

    kind: what it is called in the figure.
    values: (P,) numbers; NaN where there is none.
    low, high: sentences on the pairs with at most and with at least a value, with `{v}` for the value; "" for
        groups that are not formed.
    """

    kind: str
    values: np.ndarray
    low: Callable[[int], str] | None
    high: Callable[[int], str] | None


def attributes_of(subject: Subject) -> list[Attribute]:
    """The attributes that are known of the pairs of a subject."""
    rows, labels = subject.pair_rows, subject.labels.indices
    found = []
    if subject.trained_on is not None:
        counts = subject.trained_on.counts[labels]
        found.append(
            Attribute(
                "label frequency", counts,
                lambda v: "labels without training texts" if v == 0
                else f"labels with at most {counted(v, 'training text')}",
                lambda v: f"labels with at least {counted(v, 'training text')}",
            )  # fmt: skip
        )
    found.append(
        Attribute(
            "labels of the text", subject.truth.n_true[rows],
            lambda v: "texts with one true label" if v == 1 else f"texts with at most {v:,} true labels",
            lambda v: f"texts with at least {counted(v, 'true label')}",
        )  # fmt: skip
    )
    if len(subject.split.texts):
        found += _of_words(subject, rows, labels)
    return found


def _of_words(subject: Subject, rows: np.ndarray, labels: np.ndarray) -> list[Attribute]:
    """The length of the text and of the label name, and whether the text holds a word of the name."""
    texts = [_words(subject.text(row)[:READ]) for row in range(len(subject))]
    lengths = np.array([len(words) for words in texts], np.int64)
    used, at = np.unique(labels, return_inverse=True)
    names = [_words(subject.name(label)) for label in used.tolist()]
    sets = [set(words) for words in texts]
    shared = np.fromiter(
        (not sets[row].isdisjoint(names[i]) for row, i in zip(rows.tolist(), at.tolist(), strict=True)),
        np.int64, len(rows),
    )  # fmt: skip
    name_lengths = np.array([len(words) for words in names], np.int64)[at]
    return [
        Attribute(
            "length of the text", lengths[rows],
            lambda v: f"texts of at most {counted(v, 'word')}",
            lambda v: f"texts of at least {counted(v, 'word')}",
        ),
        Attribute(
            "words of the label in the text", shared,
            lambda v: "labels of whose names no word occurs in the text", None,
        ),
        Attribute(
            "length of the label name", name_lengths,
            lambda v: "labels whose names have one word" if v == 1 else f"labels whose names have at most {v:,} words",
            lambda v: f"labels whose names have at least {counted(v, 'word')}",
        ),
    ]  # fmt: skip


def sources_of(subject: Subject) -> Iterable[tuple[str, np.ndarray]]:
    """The pairs of each source of the texts, (P,) bool; none where texts have no sources."""
    if subject.split.sources is None:
        return
    names = np.array(list(subject.split.sources), object)
    for name in sorted(set(names.tolist())):
        yield f"texts of the source {name!r}" if name else "texts without a source", names[subject.pair_rows] == name


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())
