"""The features of fastText: known words, hashed character n-grams of words, and hashed word n-grams.

Bojanowski, Grave, Joulin and Mikolov, "Enriching word vectors with subword information", TACL 2017; the file
`dictionary.cc` of fastText 0.9.2 defines hashes and order. Words are what stands between blanks; every text ends
with the word `</s>`, as a line does.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

END, LABEL = b"</s>", b"__label__"
_BLANKS = re.compile(rb"[ \n\r\t\v\f\0]+")
_PRIME, _START, _NGRAM = 16777619, 2166136261, 116049371  # of FNV-1a, and of word n-grams
_WORDS_KEPT = 1 << 16  # whose features are remembered


@dataclass(frozen=True)
class NgramOptions:
    """Which n-grams are features.

    word_ngrams: the largest number of words. min_chars, max_chars: characters of character n-grams; none if
    max_chars is 0. buckets: B, the number of features that n-grams are hashed to.
    """

    word_ngrams: int
    min_chars: int
    max_chars: int
    buckets: int


class FastTextWords:
    """Maps texts to features: those of W words come first, then the B buckets of n-grams.

    Args:
        words: the W words in UTF-8.
        options: of n-grams.
    """

    def __init__(self, words: Sequence[bytes], options: NgramOptions) -> None:
        self.words, self.options = list(words), options
        self._ids = {word: i for i, word in enumerate(self.words)}
        self.size = len(self.words) + options.buckets
        self._of_word = functools.lru_cache(_WORDS_KEPT)(self._word)

    def transform(self, texts: Iterable[str]) -> sp.csr_matrix:
        """How often each feature occurs: (N, W + B) float32 CSR."""
        rows = [self.features(text) for text in texts]
        starts = np.append(0, np.cumsum([len(row) for row in rows], dtype=np.int64))
        columns = np.fromiter((i for row in rows for i in row), np.int64, int(starts[-1]))
        found = sp.csr_matrix((np.ones(len(columns), np.float32), columns, starts), shape=(len(rows), self.size))
        found.sum_duplicates()
        return found

    def features(self, text: str) -> list[int]:
        """The features of a text, in fastText's order."""
        found: list[int] = []
        hashes = []
        for token in [*_BLANKS.split(text.encode("utf-8", "replace")), END]:
            if not token or (token not in self._ids and token.startswith(LABEL)):
                continue
            hashed, own = self._of_word(token)
            found += own
            hashes.append(hashed)
            if token == END:
                break
        for i in range(len(hashes) if self.options.word_ngrams > 1 and self.options.buckets else 0):
            joint = hashes[i]
            for following in hashes[i + 1 : i + self.options.word_ngrams]:
                joint = (joint * _NGRAM + following) & 0xFFFFFFFFFFFFFFFF
                found.append(len(self.words) + joint % self.options.buckets)
        return found

    def _word(self, word: bytes) -> tuple[int, list[int]]:
        """The hash of a word as a signed number, and its features."""
        own, hashed = self._ids.get(word, -1), fnv(word)
        found = [own] if own >= 0 else []
        if self.options.max_chars > 0 and self.options.buckets and word != END:
            found += self._character_ngrams(b"<" + word + b">")
        return hashed - (1 << 32) if hashed >> 31 else hashed, found

    def _character_ngrams(self, word: bytes) -> list[int]:
        options, found = self.options, []
        starts = [i for i, byte in enumerate(word) if byte & 0xC0 != 0x80] + [len(word)]  # of characters
        for i in range(len(starts) - 1):
            for n in range(max(options.min_chars, 1), min(options.max_chars, len(starts) - 1 - i) + 1):
                if n > 1 or 0 < i < len(starts) - 2:
                    part = word[starts[i] : starts[i + n]]
                    found.append(len(self.words) + fnv(part) % options.buckets)
        return found


def fnv(value: bytes) -> int:
    """FNV-1a in 32 bits, with bytes from 128 on taken for negative numbers, as fastText does."""
    found = _START
    for byte in value:
        found = ((found ^ (byte | (0xFFFFFF00 if byte > 127 else 0))) * _PRIME) & 0xFFFFFFFF
    return found
