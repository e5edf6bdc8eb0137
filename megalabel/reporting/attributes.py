"""What may make true labels hard to find: groups of pairs of a text and a true label."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from megalabel.display import counted
from megalabel.reporting.subject import Subject
from megalabel.reporting.words import quoted

EDGES = 20  # values of a number that bound groups
READ = 10_000  # characters of a text whose words are read
FREQUENT = 200  # words of texts, and of names, whose pairs are groups
_WORD = re.compile(r"[^\W\d_]{3,}")
# Thai, Lao, Burmese, Khmer, and what East Asia writes without blanks between words.
_SOLID = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u2e80-\uffdc]")


class Candidate(NamedTuple):
    """A group of pairs.

    kind: by what it was formed. title: what it is in words.
    inside: (P,) bool.
    tried: the number of groups of this kind that were formed, among which the worst is found.
    """

    kind: str
    title: str
    inside: np.ndarray
    tried: int


def candidates(subject: Subject) -> Iterator[Candidate]:
    """The groups: by frequency, numbers of labels, lengths, words and sources."""
    rows, labels = subject.pair_rows, subject.labels.indices
    if subject.trained_on is not None:
        yield from _by_number("label frequency", subject.trained_on.counts[labels], _rare, _frequent)
    yield from _by_number("labels of the text", subject.truth.n_true[rows], _few_labels, _many_labels)
    used, at = np.unique(labels, return_inverse=True)
    names = [_words(subject.name(label)) for label in used.tolist()]
    yield from _by_word("word of the label", names, at, lambda word: f"labels with the word {quoted(word)}")
    if len(subject.split.texts):
        texts = [_words(subject.text(row)[:READ]) for row in range(len(subject))]
        lengths = np.array([len(subject.text(row)[:READ].split()) for row in range(len(subject))])
        yield from _by_number("length of the text", lengths[rows], _short, _long)
        title = "labels no word of whose name occurs in the text"
        yield Candidate("label in the text", title, _unnamed(subject, texts, names, at), 1)
        yield from _by_word("word of the text", texts, rows, lambda word: f"texts with the word {quoted(word)}")
    if subject.split.sources is not None:
        sources = np.array(list(subject.split.sources), object)
        known = sorted(set(sources.tolist()))
        for name in known:
            title = f"texts of the source {quoted(name)}" if name else "texts without a source"
            yield Candidate("source", title, (sources == name)[rows], len(known))


def _by_number(
    kind: str, values: np.ndarray, low: Callable[[int], str], high: Callable[[int], str]
) -> Iterator[Candidate]:
    """Pairs with at most, and with at least, a value of a number."""
    if not len(values):
        return
    edges = np.unique(np.quantile(values, np.linspace(0, 1, EDGES + 1), method="nearest"))
    for edge in edges.tolist():
        yield Candidate(kind, low(int(edge)), values <= edge, 2 * len(edges))
        yield Candidate(kind, high(int(edge)), values >= edge, 2 * len(edges))


def _by_word(
    kind: str, words: Sequence[set[str]], of_pair: np.ndarray, title: Callable[[str], str]
) -> Iterator[Candidate]:
    """Pairs whose text, or whose label, has a word; for the words that most pairs have.

    Args:
        kind: of the groups.
        words: (n,) the words of each text or label.
        of_pair: (P,) which of them belongs to each pair.
        title: makes of a word what the group is in words.
    """
    weight = np.bincount(of_pair, minlength=len(words)).tolist()
    total: Counter[str] = Counter()
    for some, n in zip(words, weight, strict=True):
        for word in some:
            total[word] += n
    frequent = sorted(total, key=lambda word: (-total[word], word))[:FREQUENT]
    for word in frequent:
        there = np.fromiter((word in some for some in words), np.bool_, len(words))
        yield Candidate(kind, title(word), there[of_pair], len(frequent))


def _unnamed(
    subject: Subject, texts: Sequence[set[str]], names: Sequence[set[str]], of_pair: np.ndarray
) -> np.ndarray:
    """Pairs whose text has no word of the name of the label, (P,) bool; without names that have no words.

    Names in scripts without blanks between words are looked for as they are.

    Args:
        subject: the subject.
        texts: (N,) the words of each text.
        names: (m,) the words of the name of each label.
        of_pair: (P,) which of these labels each pair has.
    """
    found = np.zeros(len(of_pair), np.bool_)
    pairs = zip(subject.pair_rows.tolist(), of_pair.tolist(), subject.labels.indices.tolist(), strict=True)
    for pair, (row, i, label) in enumerate(pairs):
        if names[i] and names[i].isdisjoint(texts[row]):
            name = subject.name(label)
            found[pair] = not (_SOLID.search(name) and name.lower() in subject.text(row)[:READ].lower())
    return found


def _words(text: str) -> set[str]:
    """The words of a text of three letters or more, in lower case."""
    return set(_WORD.findall(text.lower()))


def _rare(n: int) -> str:
    return f"labels with at most {counted(n, 'training text')}" if n else "labels without training texts"


def _frequent(n: int) -> str:
    return f"labels with at least {counted(n, 'training text')}"


def _few_labels(n: int) -> str:
    return "texts with one true label" if n == 1 else f"texts with at most {n:,} true labels"


def _many_labels(n: int) -> str:
    return f"texts with at least {counted(n, 'true label')}"


def _short(n: int) -> str:
    return f"texts of at most {counted(n, 'word')}"


def _long(n: int) -> str:
    return f"texts of at least {counted(n, 'word')}"
