"""Where the words of a text are, and which of them the features and tokens of a model come from.

An explanation shows the words of the text as it was given. Features come from words in lower case and without
accents, tokens from parts of words; here each of them is assigned to the characters that it was made of.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import scipy.sparse as sp

from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.tokenizer import TextTokenizer
from megalabel.inputs.words import END, TokenPattern, fold, split_words, word_regex

_PIECES = re.compile(rf"[^\s{END}]+")


def words_of(text: str) -> np.ndarray:
    """The first and the last character (exclusive) of each word and sign of a text: (n, 2) int64.

    A word is a run of letters, digits and marks; each ideograph and each other sign except blanks is one by
    itself.
    """
    found = [match.span() for match in word_regex().finditer(text) if match.group() != END]
    return np.array(found, np.int64).reshape(-1, 2)


def split_with_spans(text: str, pattern: TokenPattern) -> tuple[list[str], np.ndarray]:
    """The words of a text as `split_words` finds them, with its end, and the characters of each, (n, 2) int64.

    Where lower case or the removal of accents changes the number of characters in an unclear way, all words
    between two blanks get all characters between these.
    """
    words: list[str] = []
    spans: list[tuple[int, int]] = []
    pieces = list(_PIECES.finditer(text))
    split = iter(split_words([piece.group() for piece in pieces], pattern))
    for piece in pieces:
        own: list[str] = []
        while (word := next(split)) != END:
            own.append(word)
        words += own
        spans += _located(piece.group(), piece.start(), own, pattern)
    return [*words, END], np.array([*spans, (len(text), len(text))], np.int64).reshape(-1, 2)


def _located(piece: str, start: int, words: list[str], pattern: TokenPattern) -> list[tuple[int, int]]:
    """The characters of the words of a part of a text that begins at `start`."""
    whole = [(start, start + len(piece))] * len(words)
    if pattern == "symbols":
        return whole
    folded = [character.lower() if piece.isascii() else fold(character) for character in piece]
    joined = "".join(folded)
    if joined != (piece.lower() if piece.isascii() else fold(piece)):
        return whole
    origin = np.repeat(np.arange(len(piece)), [len(part) for part in folded])
    spans, at = [], 0
    for word in words:
        at = joined.find(word, at)
        if at < 0:
            return whole
        spans.append((start + int(origin[at]), start + int(origin[at + len(word) - 1]) + 1))
        at += len(word)
    return spans


def feature_shares(text: SparseText, line: str) -> tuple[np.ndarray, sp.csr_matrix]:
    """Which share of each feature of a text comes from which of its words.

    A feature is divided equally over its occurrences, a bigram over its two words.

    Returns:
        The characters of each of the W words of the text, (W, 2) int64, and (W, V) CSR float64 whose columns of
        features that the text has sum to 1.
    """
    words, spans = split_with_spans(line, text.pattern)
    rows, columns, shares = [], [], []
    for i, (at, column) in enumerate(text.occurrences(words)):
        _, inverse, n_times = np.unique(column, return_inverse=True, return_counts=True)
        counts = n_times[inverse]
        bigrams = i == 1 and len(text.bigrams) > 0
        for shift in (0, 1) if bigrams else (0,):
            rows.append(at + shift)
            columns.append(column)
            shares.append((0.5 if bigrams else 1.0) / counts)
    where = np.concatenate(rows), np.concatenate(columns)
    return spans, sp.csr_matrix((np.concatenate(shares), where), shape=(len(words), text.size))


def token_spans(tokenizer: TextTokenizer, text: str, max_length: int) -> tuple[list[int], np.ndarray, np.ndarray]:
    """The tokens of a text, (T,) ids, the characters of each (T, 2) int64, and which are special, (T,) bool.

    The tokens of a prompt are special, and have no characters.
    """
    encoding = tokenizer.encoding(text, max_length)
    special = np.array(encoding.special_tokens_mask, bool)
    spans = np.array(encoding.offsets, np.int64).reshape(-1, 2)
    if tokenizer.prompt:
        spans = np.maximum(spans - len(tokenizer.prompt), 0)
        special |= spans[:, 1] == 0
    return encoding.ids, spans, special


def on_words(words: np.ndarray, spans: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, float]:
    """Adds up values of parts of a text by word.

    A part that several words share is divided by the number of characters; blanks do not count.

    Args:
        words: (n, 2), ascending, without overlaps; see `words_of`.
        spans: (m, 2) the characters of each part.
        values: (m,) the value of each part.

    Returns:
        (n,) float64, and the sum of the values of parts that no word has.
    """
    sums, rest = np.zeros(len(words)), 0.0
    firsts = np.searchsorted(words[:, 1], spans[:, 0], side="right")
    for (start, stop), value, first in zip(spans.tolist(), values.tolist(), firsts.tolist(), strict=True):
        shared: list[tuple[int, int]] = []
        for i in range(first, len(words)):
            if words[i, 0] >= stop:
                break
            shared.append((i, min(stop, int(words[i, 1])) - max(start, int(words[i, 0]))))
        total = sum(n for _, n in shared)
        if not total:
            rest += value
        for i, n in shared:
            sums[i] += value * n / total
    return sums, rest


def without_words(text: str, words: np.ndarray, leave_out: Sequence[int]) -> str:
    """The text without some of its words; a blank takes the place of each."""
    parts, at = [], 0
    for i in sorted(leave_out):
        parts.append(text[at : words[i, 0]])
        at = int(words[i, 1])
    return " ".join([*parts, text[at:]])
