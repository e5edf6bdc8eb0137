"""TF-IDF of words, bigrams and character n-grams of one text, as in `megalabel.inputs.sparse_text`."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from math import log, sqrt

from .container import Container
from .strings import Strings
from .words import Splitter

CACHED = 1 << 16  # words whose character n-grams are kept


class WordFeatures:
    """The V features of a vocabulary in the order words, bigrams, character n-grams.

    Args:
        file: the file with the arrays `words.…`, `bigrams`, `ngrams.…` and `idf`.
    """

    def __init__(self, file: Container) -> None:
        about = file.model["text"]
        self._split = Splitter(about)
        self._words, self._bigrams = Strings(file, "words"), file.array("bigrams", "q")
        self._idf = file.array("idf", "f")
        self._ngrams = Strings(file, "ngrams") if about["ngrams"] else None
        self._lengths: tuple[int, int] = tuple(about["ngrams"] or (1, 0))
        self._columns: dict[str, int] = {}
        self._columns_of: dict[str, list[int]] = {}
        self.size = len(self._idf)
        if self.size != len(self._words) + len(self._bigrams) + len(self._ngrams or ()):
            raise file.refused(f"{self.size:,} weights for another number of features")

    def __call__(self, text: str) -> tuple[array[int], array[float]]:
        """The columns, ascending int32, and values, float32 of length 1, of the features of a text."""
        counts: dict[int, int] = {}
        words = self._split(text)
        ids = [self._column(word) for word in words]
        for column in ids:
            if column >= 0:
                counts[column] = counts.get(column, 0) + 1
        if self._bigrams:
            self._count_bigrams(ids, counts)
        if self._ngrams is not None:
            first = len(self._words) + len(self._bigrams)
            for word in words:
                for column in self._ngrams_of(word):
                    counts[first + column] = counts.get(first + column, 0) + 1
        columns = array("i", sorted(counts))
        return columns, self._weighed(columns, counts)

    def _column(self, word: str) -> int:
        column = self._columns.get(word)
        if column is None:
            column = self._words.find(word)
            if column >= 0:
                self._columns[word] = column
        return column

    def _count_bigrams(self, ids: list[int], counts: dict[int, int]) -> None:
        bigrams, n_words, n = self._bigrams, len(self._words), len(self._bigrams)
        before = -1
        for column in ids:
            if before >= 0 and column >= 0:
                code = before * n_words + column
                at = bisect_left(bigrams, code)
                if at < n and bigrams[at] == code:
                    counts[n_words + at] = counts.get(n_words + at, 0) + 1
            before = column

    def _ngrams_of(self, word: str) -> list[int]:
        """The numbers of the character n-grams of a word, whose ends count as blanks."""
        found = self._columns_of.get(word)
        if found is None:
            assert self._ngrams is not None
            padded, find = f" {word} ", self._ngrams.find
            found = []
            for length in range(self._lengths[0], self._lengths[1] + 1):
                for at in range(len(padded) - length + 1):
                    column = find(padded[at : at + length])
                    if column >= 0:
                        found.append(column)
            if len(self._columns_of) >= CACHED:
                self._columns_of.clear()
            self._columns_of[word] = found
        return found

    def _weighed(self, columns: array[int], counts: dict[int, int]) -> array[float]:
        """(1 + ln tf) · idf, scaled to length 1; each step is rounded to float32, as in training."""
        idf = self._idf
        frequent = array("f", [log(counts[column]) for column in columns])
        values = array("f", [value + 1 for value in frequent])
        values = array("f", [value * idf[column] for value, column in zip(values, columns, strict=True)])
        length = sum([value * value for value in values])
        scale = array("f", [1 / sqrt(length) if length > 0 else 0.0])[0]
        return array("f", [value * scale for value in values])
