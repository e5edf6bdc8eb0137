"""Learns which words, bigrams and character n-grams occur in most texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import count
from typing import NamedTuple

import numpy as np

from megalabel.errors import DataError, SettingError
from megalabel.inputs.words import END, TokenPattern, split_words
from megalabel.storage.spill import SpilledArrays

MAX_FEATURES = 1 << 24  # the code of a bigram times the texts of a block has to fit 64 bits
_KNOWN = 1 << 14  # words whose character n-grams are kept
_PENDING = 1 << 22  # bigrams that are counted before they are merged with the others


class NGrams(NamedTuple):
    """The features that `learn_ngrams` keeps, and their document frequencies.

    Attributes:
        words: the W words.
        bigrams: int64, ascending: first · W + second of each pair of neighboring words.
        char_ngrams: the character n-grams.
        frequencies: (V,) int64, the number of texts that hold each feature, in this order.
        n_texts: the number of texts.
        read: the words of each block of texts that was read, as numbers, int32; in a file beyond 64 MiB.
        columns: int64, for each number the position in `words`, -1 for other words, and -2 for the end of a text.
    """

    words: list[str]
    bigrams: np.ndarray
    char_ngrams: list[str]
    frequencies: np.ndarray
    n_texts: int
    read: SpilledArrays
    columns: np.ndarray


def learn_ngrams(
    blocks: Iterable[list[str]],
    pattern: TokenPattern,
    vocabulary: int,
    min_texts: int,
    bigrams: bool,
    lengths: tuple[int, int] | None,
) -> NGrams:
    """Keeps the `vocabulary` features that occur in most texts, and in at least `min_texts`.

    Ties go to words before bigrams before character n-grams. Among words and among character n-grams ties go by
    spelling, among bigrams by the ranks of their words.

    Args:
        blocks: the texts, in blocks of at most a few thousand.
        pattern: how texts are split; see `split_words`.
        vocabulary, min_texts, bigrams: see `SparseText.learn`.
        lengths: the least and the largest length of the character n-grams, or None for none.

    Raises:
        DataError, SettingError: as `SparseText.learn`.
    """
    _check_settings(vocabulary, min_texts, lengths)
    counts = _count(blocks, pattern, lengths)
    words, word_texts, rank = _most_frequent(counts.words, counts.word_texts, min_texts, vocabulary)
    char_ngrams, char_ngram_texts, _ = _most_frequent(
        counts.char_ngrams, counts.char_ngram_texts, min_texts, vocabulary
    )
    rank[counts.end] = -2
    codes, bigram_texts = _count_bigrams(counts.read, rank, counts.end, len(words)) if bigrams else (_NONE, _NONE)
    often = bigram_texts >= min_texts
    codes, bigram_texts = codes[often], bigram_texts[often]

    frequencies = np.concatenate([word_texts, bigram_texts, char_ngram_texts])
    if len(frequencies) == 0:
        raise DataError(
            f"no word occurs in {min_texts} of {counts.n_texts:,} texts",
            wanted="texts with words in common",
            next_step="check that the training texts are not empty, or lower min_texts",
        )
    kept = np.zeros(len(frequencies), dtype=np.bool_)
    kept[np.argsort(-frequencies, kind="stable")[:vocabulary]] = True
    keep_word, keep_bigram, keep_char_ngram = np.split(kept, np.cumsum([len(words), len(codes)]))
    # A bigram occurs in no more texts than its words. Where it is kept, its words are kept, and they come first.
    n_words = int(keep_word.sum())
    first, second = np.divmod(codes[keep_bigram], max(len(words), 1))
    char_ngrams = [name for name, keep in zip(char_ngrams, keep_char_ngram, strict=True) if keep]
    rank[rank >= n_words] = -1
    codes = first * n_words + second
    return NGrams(words[:n_words], codes, char_ngrams, frequencies[kept], counts.n_texts, counts.read, rank)


def bigrams_of(ids: np.ndarray, n_words: int) -> tuple[np.ndarray, np.ndarray]:
    """The positions at which two known words (0 or more) follow each other, and first · n_words + second."""
    at = np.flatnonzero((ids[:-1] >= 0) & (ids[1:] >= 0))
    return at, ids[at].astype(np.int64) * n_words + ids[at + 1]


def char_ngrams_of(
    words: Sequence[str],
    lengths: tuple[int, int],
    number: Callable[[str], int | None],
    known: dict[str, list[int]] | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Finds the character n-grams of all words.

    Args:
        words: the words; the ends of a word count as blanks.
        lengths: the least and the largest length.
        number: the number of a character n-gram, or None to leave it out.
        known: the numbers of the n-grams of words; up to 16,384 words are added, the first ones that come.

    Returns:
        The word to which each n-gram belongs, and its number.
    """
    known = {} if known is None else known
    of_word = {word: known.get(word) for word in words} | {END: []}
    for word, found in of_word.items():
        if found is None:
            padded = f" {word} "
            ngrams = (
                padded[at : at + length]
                for length in range(lengths[0], lengths[1] + 1)
                for at in range(len(padded) - length + 1)
            )
            of_word[word] = own = [column for column in map(number, ngrams) if column is not None]
            if len(known) < _KNOWN:
                known[word] = own
    lists = [of_word[word] or [] for word in words]
    sizes = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
    columns = np.fromiter((column for some in lists for column in some), dtype=np.int64, count=int(sizes.sum()))
    return np.repeat(np.arange(len(lists)), sizes), columns


_NONE = np.zeros(0, dtype=np.int64)


class _Counts(NamedTuple):
    """What is counted in one pass over the texts; a position of `read` that holds `end` ends a text."""

    words: list[str]
    word_texts: np.ndarray
    char_ngrams: list[str]
    char_ngram_texts: np.ndarray
    read: SpilledArrays
    end: int
    n_texts: int


def _count(blocks: Iterable[list[str]], pattern: TokenPattern, lengths: tuple[int, int] | None) -> _Counts:
    """Numbers the words and the character n-grams of all texts, and counts the texts that hold each."""
    numbers: defaultdict[str, int] = defaultdict(count().__next__)
    char_ngram_numbers: defaultdict[str, int] = defaultdict(count().__next__)
    end, n_texts = numbers[END], 0
    read = SpilledArrays()
    word_texts, char_ngram_texts = np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    for block in blocks:
        words = split_words(block, pattern)
        ids = np.fromiter(map(numbers.__getitem__, words), dtype=np.int32, count=len(words))
        rows, n_texts = np.cumsum(ids == end), n_texts + len(block)
        read.append(ids)
        word_texts = _sum(word_texts, _document_frequencies(rows, ids, len(numbers)))
        if lengths is not None:
            word_of, columns = char_ngrams_of(words, lengths, char_ngram_numbers.__getitem__)
            char_ngram_texts = _sum(
                char_ngram_texts, _document_frequencies(rows[word_of], columns, len(char_ngram_numbers))
            )
    word_texts[end : end + 1] = 0
    return _Counts(list(numbers), word_texts, list(char_ngram_numbers), char_ngram_texts, read, end, n_texts)


def _most_frequent(
    names: list[str], frequencies: np.ndarray, min_texts: int, limit: int
) -> tuple[list[str], np.ndarray, np.ndarray]:
    """The names by falling frequency, then by spelling; their frequencies; and the rank of each name, or -1."""
    often = np.flatnonzero(frequencies >= min_texts).tolist()
    texts = frequencies.tolist()
    order = np.array(sorted(often, key=lambda i: (-texts[i], names[i]))[:limit], dtype=np.int64)
    rank = np.full(len(names), -1, dtype=np.int64)
    rank[order] = np.arange(len(order))
    return [names[i] for i in order], frequencies[order], rank


def _count_bigrams(read: SpilledArrays, rank: np.ndarray, end: int, n_words: int) -> tuple[np.ndarray, np.ndarray]:
    """The codes of all bigrams, ascending, and the number of texts that hold each."""
    codes, texts = _NONE, _NONE
    pending: list[tuple[np.ndarray, np.ndarray]] = []
    for number, ids in enumerate(read):
        rows = np.cumsum(ids == end)
        at, found = bigrams_of(rank[ids], n_words)
        n = int(rows[-1]) + 1
        once = _unique(found * n + rows[at])[0] // n  # each bigram once per text
        pending.append(_unique(once))
        if number + 1 == len(read) or sum(len(some) for some, _ in pending) > max(_PENDING, len(codes)):
            parts = [(codes, texts), *pending]
            codes, texts = _unique(
                np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
            )
            pending = []
    return codes, texts


def _unique(values: np.ndarray, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The different values, ascending, and the number of occurrences of each or the sum of its weights."""
    if weights is None:
        values = np.sort(values)
    else:
        order = np.argsort(values, kind="stable")
        values, weights = values[order], weights[order]
    starts = np.flatnonzero(np.append(True, values[1:] != values[:-1])[: len(values)])
    sums = np.diff(np.append(starts, len(values))) if weights is None else np.add.reduceat(weights, starts)
    return values[starts], sums


def _document_frequencies(rows: np.ndarray, ids: np.ndarray, n: int) -> np.ndarray:
    """The number of different rows in which each id occurs: (n,) int64."""
    return np.bincount(_unique(rows * n + ids)[0] % max(n, 1), minlength=n)


def _sum(total: np.ndarray, more: np.ndarray) -> np.ndarray:
    """Adds the first vector to the second, which is at least as long, in place."""
    more[: len(total)] += total
    return more


def _check_settings(vocabulary: int, min_texts: int, lengths: tuple[int, int] | None) -> None:
    if not 1 <= vocabulary <= MAX_FEATURES:
        raise SettingError.range("vocabulary", vocabulary, 1, MAX_FEATURES, integer=True)
    if min_texts < 1:
        raise SettingError.range("min_texts", min_texts, 1, integer=True)
    if lengths is not None and not (len(lengths) == 2 and 1 <= lengths[0] <= lengths[1]):
        raise SettingError(
            f"char_ngrams = {lengths}",
            wanted="the least and the largest length, such as (3, 5)",
            where="char_ngrams",
        )
