"""Sparse features of texts: TF-IDF of words, bigrams and optionally character n-grams of a learned vocabulary.

    x[n, f] = (1 + ln tf[n, f]) · idf[f],   idf[f] = ln((1 + N) / (1 + n_f)) + 1,   rows of length 1

as in `inputs/tfidf.py`; the idf of bigrams is multiplied by a weight, 1 by default. A bigram is two words that
follow each other in a text; a character n-gram is a run of characters within a word, whose ends count as blanks.
The vocabulary holds the features that occur in most of the N texts from which it is learned. One regular
expression, a dict and numpy process thousands of texts at once, in a fraction of the time of a vectorizer that
works text by text (measured in `docs/log.md`), and nothing is pickled.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice, repeat
from pathlib import Path
from typing import Self, TypedDict, Unpack

import numpy as np
import scipy.sparse as sp

from megalabel.errors import RESTORE_FOLDER, SettingError
from megalabel.inputs.ngrams import NGrams, bigrams_of, char_ngrams_of, learn_ngrams
from megalabel.inputs.sparse_folder import Parts, check_parts, read_parts, write_parts
from megalabel.inputs.tfidf import weigh
from megalabel.inputs.words import END, TokenPattern, split_words
from megalabel.storage.reading import reading

BLOCK = 4096  # texts that are processed at once


class LearningOptions(TypedDict, total=False):
    """How a vocabulary is learned.

    vocabulary: the maximum number of features, 500,000 by default; those that occur in most texts are kept. Ties
        go to words before bigrams before character n-grams, then by spelling.
    min_texts: the number of texts in which a feature must occur at least, 1 by default.
    pattern: how texts are split into words, see `split_words`; "letters" by default, "signs" or "symbols" where
        formulas matter.
    bigrams: whether pairs of neighboring words are features, True by default.
    bigram_weight: what the idf of a bigram is multiplied by, above 0; 1 by default.
    char_ngrams: the least and the largest length of character n-grams, such as (3, 5); None by default, for none.
    """

    vocabulary: int
    min_texts: int
    pattern: TokenPattern
    bigrams: bool
    bigram_weight: float
    char_ngrams: tuple[int, int] | None


class SparseText:
    """A vocabulary of V features, in the order words, bigrams, character n-grams, with their idf weights.

    Args:
        pattern: how texts are split into words; see `split_words`.
        words: the W words, most frequent first.
        bigrams: int64, ascending: first · W + second of each bigram.
        char_ngrams: the character n-grams, with a blank for the end of a word.
        lengths: the least and the largest length of the character n-grams, or None for none.
        idf: (V,) float32.

    Raises:
        FormatError: the parts do not fit each other.
    """

    def __init__(
        self,
        pattern: TokenPattern,
        words: Sequence[str],
        bigrams: np.ndarray,
        char_ngrams: Sequence[str],
        lengths: tuple[int, int] | None,
        idf: np.ndarray,
    ) -> None:
        check_parts(Parts(pattern, words, bigrams, char_ngrams, lengths, idf))
        self.pattern, self.words, self.bigrams, self.char_ngrams = pattern, list(words), bigrams, list(char_ngrams)
        self.lengths, self.idf = lengths, idf
        self._word_columns = {word: column for column, word in enumerate(self.words)} | {END: -2}
        self._char_ngram_columns = {name: column for column, name in enumerate(self.char_ngrams)}
        self._char_ngrams_of_word: dict[str, list[int]] = {}

    @classmethod
    def learn(cls, texts: Iterable[str], **options: Unpack[LearningOptions]) -> Self:
        """Learns the vocabulary of some texts.

        Args:
            texts: the training texts, which are read once.
            options: `LearningOptions`.

        Raises:
            DataError: no feature is left, or a text is not a string.
            SettingError: a number is below 1, the weight is not above 0, or the pattern is unknown.
        """
        return cls._learned(texts, **options)[0]

    @classmethod
    def learn_rows(cls, *texts: Iterable[str], **options: Unpack[LearningOptions]) -> tuple[Self, sp.csr_matrix]:
        """Learns the vocabulary of N texts and computes their features, faster than `learn` and then `transform`.

        Args:
            texts: the training texts, in one or more parts. They are read once, or twice for character n-grams.
            options: as for `learn`.

        Returns:
            The vocabulary, and what its `transform` returns for the texts.

        Raises:
            DataError, SettingError: as `learn`.
        """
        learned, found = cls._learned(chain.from_iterable(texts), **options)
        if found.char_ngrams:  # the numbers of all of them would take several times the memory of the texts
            return learned, learned.transform(chain.from_iterable(texts))
        return learned, learned._weighed([learned._count(found.columns[ids]) for ids in found.read])

    @classmethod
    def _learned(
        cls,
        texts: Iterable[str],
        *,
        vocabulary: int = 500_000,
        min_texts: int = 1,
        pattern: TokenPattern = "letters",
        bigrams: bool = True,
        bigram_weight: float = 1.0,
        char_ngrams: tuple[int, int] | None = None,
    ) -> tuple[Self, NGrams]:
        if not 0 < bigram_weight < math.inf:
            raise SettingError(f"bigram_weight = {bigram_weight}", wanted="above 0", where="bigram_weight")
        found = learn_ngrams(_blocks(texts), pattern, vocabulary, min_texts, bigrams, char_ngrams)
        idf = np.log((1 + found.n_texts) / (1 + found.frequencies)) + 1
        idf[len(found.words) : len(found.words) + len(found.bigrams)] *= bigram_weight
        parts = found.words, found.bigrams, found.char_ngrams, char_ngrams, idf.astype(np.float32)
        return cls(pattern, *parts), found

    @property
    def size(self) -> int:
        """The number of features, V."""
        return len(self.idf)

    @property
    def n_word_features(self) -> int:
        """The number of words and bigrams, which are the first features."""
        return self.size - len(self.char_ngrams)

    def transform(self, texts: Iterable[str]) -> sp.csr_matrix:
        """Computes the features of N texts.

        Returns:
            (N, V) float32 CSR with rows of length 1 and ascending columns; a text without known features has a row
            of zeros.

        Raises:
            DataError: a text is not a string.
        """
        return self._weighed([self._counts(block) for block in _blocks(texts)])

    def _weighed(self, blocks: list[sp.csr_matrix]) -> sp.csr_matrix:
        """The features of texts whose features are counted in blocks."""
        if len(blocks) == 1:
            return weigh(blocks[0], self.idf)
        counts = sp.vstack(blocks, format="csr") if blocks else sp.csr_matrix((0, self.size), dtype=np.float32)
        return weigh(counts, self.idf)

    def names(self, columns: Iterable[int]) -> list[str]:
        """The names of some features: words, bigrams, or character n-grams with dots where the word continues."""
        n_words, n_bigrams = len(self.words), len(self.bigrams)
        names = []
        for column in columns:
            if column < n_words:
                names.append(self.words[column])
            elif column < n_words + n_bigrams:
                first, second = divmod(int(self.bigrams[column - n_words]), n_words)
                names.append(f"{self.words[first]} {self.words[second]}")
            else:
                name = self.char_ngrams[column - n_words - n_bigrams]
                before, after = "" if name[0] == " " else "…", "" if name[-1] == " " else "…"
                names.append(f"{before}{name.strip()}{after}")
        return names

    def save(self, folder: str | Path) -> None:
        """Writes the vocabulary and its weights into a folder of its own, with a manifest."""
        parts = Parts(self.pattern, self.words, self.bigrams, self.char_ngrams, self.lengths, self.idf)
        write_parts(Path(folder), parts)

    @classmethod
    def load(cls, folder: str | Path) -> SparseText:
        """Reads what `save` wrote; FormatError if the folder is damaged, incomplete or something else."""
        wanted = "words, bigrams, character n-grams and a weight for each"
        parts = read_parts(Path(folder))
        with reading(Path(folder), wanted=wanted, next_step=RESTORE_FOLDER, what="the vocabulary is damaged"):
            vocabulary = cls(*parts)
            vocabulary.transform(["one text"])
            return vocabulary

    def _counts(self, texts: list[str]) -> sp.csr_matrix:
        """The number of occurrences of each feature in each text: (n, V) float32 CSR."""
        words = split_words(texts, self.pattern)
        ids = np.fromiter(map(self._word_columns.get, words, repeat(-1)), dtype=np.int64, count=len(words))
        return self._count(ids, words)

    def _count(self, ids: np.ndarray, words: Sequence[str] = ()) -> sp.csr_matrix:
        """As `_counts`, of the columns of words, -1 for others and -2 for the end of a text."""
        rows = np.cumsum(ids == -2)
        parts = self._occurrences(ids, words)
        where = rows[np.concatenate([part[0] for part in parts])], np.concatenate([part[1] for part in parts])
        counts = sp.csr_matrix(
            (np.ones(len(where[0]), dtype=np.float32), where), shape=(int((ids == -2).sum()), self.size)
        )
        counts.sum_duplicates()
        return counts

    def occurrences(self, words: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Where the features of one text are: words, bigrams (at their first word) and character n-grams.

        Args:
            words: the words of the text, as `split_words` finds them.

        Returns:
            For words, then for bigrams and for character n-grams if there are any, the positions (n,) in `words`
            and the columns (n,).
        """
        ids = np.fromiter(map(self._word_columns.get, words, repeat(-1)), dtype=np.int64, count=len(words))
        return self._occurrences(ids, words)

    def _occurrences(self, ids: np.ndarray, words: Sequence[str]) -> list[tuple[np.ndarray, np.ndarray]]:
        known = np.flatnonzero(ids >= 0)
        parts = [(known, ids[known])]
        if len(self.bigrams):
            at, codes = bigrams_of(ids, len(self.words))
            order = np.argsort(codes)  # a search in ascending order takes a third of the time
            at, codes = at[order], codes[order]
            columns = np.minimum(np.searchsorted(self.bigrams, codes), len(self.bigrams) - 1)
            is_known = self.bigrams[columns] == codes
            parts.append((at[is_known], columns[is_known] + len(self.words)))
        if self.lengths is not None and self.char_ngrams:
            word_of, columns = char_ngrams_of(
                words, self.lengths, self._char_ngram_columns.get, self._char_ngrams_of_word
            )
            parts.append((word_of, columns + len(self.words) + len(self.bigrams)))
        return parts


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter([texts] if isinstance(texts, str) else texts)
    while block := list(islice(rest, BLOCK)):
        yield block
