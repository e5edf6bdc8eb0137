"""Twenty-one synthetic shapes of data, on which `linear_choice.py` compares a choice with fixed settings.

A label has a few topic words. A text draws words of the topics of its labels and words that any text may have.
What differs is the shape: the numbers of texts, labels and words, and what carries the label.
"""

from __future__ import annotations

import string
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from megalabel.data.corpus import Corpus

TEST_WORDS = 500_000  # words of the texts to measure on, and their number:
LEAST_TEST, MOST_TEST = 500, 5_000
TOPIC = 6  # words of a label
FILL = 2_000  # different words that any text may have


@dataclass(frozen=True)
class Shape:
    """A shape of data.

    texts, labels: numbers in the training set.
    per_text: labels per text.
    words: words per text.
    clear: share of the words of a text that are of its topics.
    write: what becomes of the words of a text and of its labels, as one string.
    names: "topic" for label texts of topic words, "wrong" for those of another label, "numbers".
    copies: how often each training text occurs.
    tail: whether few labels have most texts.
    wrong: share of labels drawn at random.
    """

    texts: int = 3_000
    labels: int = 200
    per_text: int = 2
    words: int = 12
    clear: float = 0.2
    write: Callable[[list[str], np.random.Generator], str] = lambda words, draw: " ".join(words)
    names: str = "numbers"
    copies: int = 1
    tail: bool = False
    wrong: float = 0.0


def parts(words: list[str], draw: np.random.Generator) -> str:
    """Neighbors are joined, so that few words repeat and parts of words carry the labels."""
    return " ".join(a + b for a, b in zip(words[::2], words[1::2], strict=False))


def unspaced(words: list[str], draw: np.random.Generator) -> str:
    """No blanks at all."""
    return "".join(words)


def misspelled(words: list[str], draw: np.random.Generator) -> str:
    """A letter of every second word is replaced."""

    def wrong(word: str) -> str:
        at = int(draw.integers(len(word)))
        return word[:at] + string.ascii_lowercase[draw.integers(26)] + word[at + 1 :]

    return " ".join(wrong(word) if draw.random() < 0.5 else word for word in words)


def signs(words: list[str], draw: np.random.Generator) -> str:
    """The letters become signs, by a fixed table."""
    table = str.maketrans(string.ascii_lowercase, "+-*/=<>!?&|^~%$#@;:,.()[]{"[:26])
    return " ".join(words).translate(table) + " and more"


def two_languages(words: list[str], draw: np.random.Generator) -> str:
    """Half of the texts are in a language of its own, whose words share no letter with the first."""
    table = str.maketrans(string.ascii_lowercase, "абвгдежзийклмнопрстуфхцчшщ")
    text = " ".join(words)
    return text.translate(table) if draw.random() < 0.5 else text


def ordered(words: list[str], draw: np.random.Generator) -> str:
    """Words become letters of a small alphabet of words: only their order tells them apart."""
    return " ".join(" ".join(f"s{ord(c) % 7}x" for c in word) for word in words)


def codes(words: list[str], draw: np.random.Generator) -> str:
    """Codes that begin alike within a topic and end in a number of their own."""
    return " ".join(f"{word[:4]}{draw.integers(1000):03d}" for word in words)


SHAPES: dict[str, Shape] = {
    "plain": Shape(),
    "many labels per text": Shape(per_text=15, words=40, clear=0.4),
    "one label per text": Shape(per_text=1),
    "50 texts": Shape(texts=50, labels=10, per_text=1, clear=0.3),
    "300 texts": Shape(texts=300, labels=30),
    "3 labels": Shape(labels=3, per_text=1, clear=0.1),
    "all labels frequent": Shape(labels=12, per_text=4, clear=0.15),
    "texts of one word": Shape(words=1, per_text=1, clear=0.9),
    "texts of 5,000 words": Shape(texts=400, labels=40, words=5_000, clear=0.004),
    "two languages": Shape(write=two_languages),
    "order decides": Shape(write=ordered, labels=60, clear=0.5, per_text=1),
    "parts of words decide": Shape(write=parts),
    "no blanks": Shape(write=unspaced, words=8),
    "misspelled": Shape(write=misspelled),
    "signs decide": Shape(write=signs),
    "codes": Shape(write=codes, words=6),
    "label texts help": Shape(texts=1_500, labels=1_500, per_text=1, names="topic", clear=0.4),
    "label texts mislead": Shape(names="wrong"),
    "long tail": Shape(labels=1_000, tail=True),
    "wrong labels": Shape(wrong=0.3),
    "copies of texts": Shape(texts=600, copies=5),
}


def corpus(name: str, seed: int = 0) -> Corpus:
    """The data of a shape; seed draws another instance."""
    shape = SHAPES[name]
    draw = np.random.default_rng([seed, list(SHAPES).index(name)])
    topics = [_words(draw, TOPIC) for _ in range(shape.labels)]
    fill = _words(draw, FILL)
    weights = 1 / np.arange(1, shape.labels + 1) if shape.tail else np.ones(shape.labels)
    labels = [f"label{i}" for i in range(shape.labels)]
    if shape.names != "numbers":
        shift = shape.names == "wrong"
        labels = [f"{' '.join(topics[(i + shift) % shape.labels][:3])} {i}" for i in range(shape.labels)]
    train = [_text(shape, topics, fill, weights / weights.sum(), draw) for _ in range(shape.texts)] * shape.copies
    n_test = min(max(TEST_WORDS // shape.words, LEAST_TEST), MOST_TEST)
    clean = replace(shape, wrong=0.0)
    test = [_text(clean, topics, fill, weights / weights.sum(), draw) for _ in range(n_test)]
    return Corpus.of(
        [text for text, _ in train],
        [list(of) for _, of in train],
        labels,
        test_texts=[text for text, _ in test],
        test_labels=[list(of) for _, of in test],
        name=name,
    )


def _words(draw: np.random.Generator, n: int) -> list[str]:
    letters = np.array(list(string.ascii_lowercase))
    return ["".join(letters[draw.integers(26, size=draw.integers(4, 8))]) for _ in range(n)]


def _text(
    shape: Shape, topics: list[list[str]], fill: list[str], weights: np.ndarray, draw: np.random.Generator
) -> tuple[str, list[int]]:
    of = draw.choice(len(topics), size=shape.per_text, replace=False, p=weights).tolist()
    words = [
        topics[of[draw.integers(len(of))]][draw.integers(TOPIC)]
        if draw.random() < shape.clear
        else fill[int(FILL * draw.random() ** 2)]
        for _ in range(shape.words)
    ]
    said = [int(draw.integers(len(topics))) if draw.random() < shape.wrong else label for label in of]
    return shape.write(words, draw), sorted(set(said))
