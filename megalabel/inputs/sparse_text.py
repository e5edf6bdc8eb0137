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
from itertools import islice, repeat
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import RESTORE_FOLDER, FormatError, SettingError
from megalabel.inputs.ngrams import bigrams_of, char_ngrams_of, learn_ngrams
from megalabel.inputs.tfidf import weigh
from megalabel.inputs.words import END, TokenPattern, split_words
from megalabel.storage.files import read_json, write_json
from megalabel.storage.manifest import NAME, read_manifest, write_manifest
from megalabel.storage.reading import reading

FORMAT = 1
MAX_CHAR_NGRAM = 1000  # characters of an n-gram in a folder that is read
BLOCK = 4096  # texts that are processed at once


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
        _check_parts(words, bigrams, char_ngrams, idf)
        self.pattern, self.words, self.bigrams, self.char_ngrams = pattern, list(words), bigrams, list(char_ngrams)
        self.lengths, self.idf = lengths, idf
        self._word_columns = {word: column for column, word in enumerate(self.words)} | {END: -2}
        self._char_ngram_columns = {name: column for column, name in enumerate(self.char_ngrams)}

    @classmethod
    def learn(
        cls,
        texts: Iterable[str],
        *,
        vocabulary: int = 500_000,
        min_texts: int = 1,
        pattern: TokenPattern = "letters",
        bigrams: bool = True,
        bigram_weight: float = 1.0,
        char_ngrams: tuple[int, int] | None = None,
    ) -> SparseText:
        """Learns the vocabulary of some texts.

        Args:
            texts: the training texts, which are read once.
            vocabulary: the maximum number of features; those that occur in most texts are kept. Ties go to words
                before bigrams before character n-grams, then by spelling.
            min_texts: the number of texts in which a feature must occur at least.
            pattern: how texts are split into words, see `split_words`; "signs" or "symbols" where formulas matter.
            bigrams: whether pairs of neighboring words are features.
            bigram_weight: what the idf of a bigram is multiplied by, above 0.
            char_ngrams: the least and the largest length of character n-grams, such as (3, 5); None for none.

        Raises:
            DataError: no feature is left, or a text is not a string.
            SettingError: a number is below 1, the weight is not above 0, or the pattern is unknown.
        """
        if not 0 < bigram_weight < math.inf:
            raise SettingError(f"bigram_weight = {bigram_weight}", wanted="above 0", where="bigram_weight")
        found = learn_ngrams(_blocks(texts), pattern, vocabulary, min_texts, bigrams, char_ngrams)
        idf = np.log((1 + found.n_texts) / (1 + found.frequencies)) + 1
        idf[len(found.words) : len(found.words) + len(found.bigrams)] *= bigram_weight
        return cls(pattern, found.words, found.bigrams, found.char_ngrams, char_ngrams, idf.astype(np.float32))

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
        blocks = [self._counts(block) for block in _blocks(texts)]
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
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NAME).unlink(missing_ok=True)  # so that the new manifest does not list the old one
        write_json(folder / "words.json", {"words": self.words, "pieces": self.char_ngrams})
        np.save(folder / "pairs.npy", self.bigrams)
        np.save(folder / "idf.npy", self.idf)
        facts: dict[str, Any] = {
            "what": "TF-IDF of words, then bigrams (first word · words + second word), then character n-grams",
            "kind": self.pattern,
            "piece_lengths": self.lengths,
            "features": [len(self.words), len(self.bigrams), len(self.char_ngrams)],
        }
        write_manifest(folder, FORMAT, facts)

    @classmethod
    def load(cls, folder: str | Path) -> SparseText:
        """Reads what `save` wrote; FormatError if the folder is damaged, incomplete or something else."""
        folder = Path(folder)
        manifest = read_manifest(
            folder,
            "vocabulary of sparse features",
            FORMAT,
            facts=("kind", "piece_lengths", "features"),
            files=("words.json", "pairs.npy", "idf.npy"),
            next_step=RESTORE_FOLDER,
        )
        listed = read_json(folder / "words.json", next_step=RESTORE_FOLDER)
        wanted = "words, bigrams, character n-grams and a weight for each"
        with reading(folder, wanted=wanted, next_step=RESTORE_FOLDER, what="the vocabulary is damaged"):
            lengths = _checked_lengths(manifest["piece_lengths"])
            bigrams, idf = (np.load(folder / name, allow_pickle=False) for name in ("pairs.npy", "idf.npy"))
            vocabulary = cls(manifest["kind"], listed["words"], bigrams, listed["pieces"], lengths, idf)
            vocabulary.transform(["one text"])
            return vocabulary

    def _counts(self, texts: list[str]) -> sp.csr_matrix:
        """The number of occurrences of each feature in each text: (n, V) float32 CSR."""
        words = split_words(texts, self.pattern)
        ids = np.fromiter(map(self._word_columns.get, words, repeat(-1)), dtype=np.int64, count=len(words))
        rows = np.cumsum(ids == -2)
        known = ids >= 0
        parts = [(rows[known], ids[known])]
        if len(self.bigrams):
            at, codes = bigrams_of(ids, len(self.words))
            order = np.argsort(codes)  # a search in ascending order takes a third of the time
            at, codes = at[order], codes[order]
            columns = np.minimum(np.searchsorted(self.bigrams, codes), len(self.bigrams) - 1)
            known = self.bigrams[columns] == codes
            parts.append((rows[at[known]], columns[known] + len(self.words)))
        if self.lengths is not None and self.char_ngrams:
            word_of, columns = char_ngrams_of(words, self.lengths, self._char_ngram_columns.get)
            parts.append((rows[word_of], columns + len(self.words) + len(self.bigrams)))
        where = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        counts = sp.csr_matrix((np.ones(len(where[0]), dtype=np.float32), where), shape=(len(texts), self.size))
        counts.sum_duplicates()
        return counts


def _checked_lengths(lengths: Any) -> tuple[int, int] | None:
    """The least and the largest length of character n-grams; ValueError for others than can be learned."""
    if lengths is None:
        return None
    least, largest = lengths
    if type(least) is not int or type(largest) is not int or not 1 <= least <= largest <= MAX_CHAR_NGRAM:
        raise ValueError(f"character n-grams of {least!r:.40} to {largest!r:.40} characters")
    return least, largest


def _blocks(texts: Iterable[str]) -> Iterator[list[str]]:
    rest = iter([texts] if isinstance(texts, str) else texts)
    while block := list(islice(rest, BLOCK)):
        yield block


def _check_parts(words: Sequence[str], bigrams: np.ndarray, char_ngrams: Sequence[str], idf: np.ndarray) -> None:
    n, total = len(words), len(words) + len(bigrams) + len(char_ngrams)
    fine = all(isinstance(name, str) and name for name in (*words, *char_ngrams))
    fine = fine and len(set(words)) == n and len(set(char_ngrams)) == len(char_ngrams)
    fine = fine and bigrams.dtype == np.int64 and bigrams.ndim == 1 and bool((np.diff(bigrams) > 0).all())
    fine = fine and (len(bigrams) == 0 or (0 <= bigrams[0] and bigrams[-1] < n * n))
    fine = fine and idf.dtype == np.float32 and idf.shape == (total,)
    if not (fine and np.isfinite(idf).all() and (idf > 0).all()):
        raise FormatError(
            f"{n} words, {len(bigrams)} bigrams, {len(char_ngrams)} character n-grams, weights {idf.shape}",
            wanted="different words and character n-grams, ascending bigrams, and a positive weight for each",
            next_step=RESTORE_FOLDER,
        )
