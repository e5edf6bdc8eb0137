"""TF-IDF features as a graph: the code points of texts to their words, bigrams and character n-grams.

A string is known by its key, which joins two polynomials of its code points modulo a prime, 62 bits:

    key(s) = h(s, r₁) · 2³¹ + h(s, r₂),   h(s, r) = Σ_j s[j] · r^j mod 2³¹ − 1

No two strings of a vocabulary have the same key. A string outside of a vocabulary of a million has that of one
inside with a probability of 10⁻¹².
"""

from __future__ import annotations

import functools
import re
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from megalabel.errors import SettingError
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.words import END, TokenPattern, word_pattern
from megalabel.onnx.searching import positions_in

PRIME = (1 << 31) - 1
BASES = (1_103_515_245, 1_664_525_193)
N_KINDS = 0x323B1  # code points from the last one on are all of one kind
# Kinds of characters; letters side by side are one word, and so are signs.
BLANK, SINGLE, LETTER, SIGN = range(4)


class Features(NamedTuple):
    """The features of n texts: the text, the feature and the value of each, (M,), by text and then by feature.

    The last one is a feature of value 0, so that M is at least 1.
    """

    texts: Tensor
    features: Tensor
    values: Tensor


class WordGraph(nn.Module):
    """The features of `SparseText`, of texts that are folded already where its pattern folds them.

    Raises:
        SettingError: two words, or two character n-grams, have the same key.
    """

    def __init__(self, text: SparseText) -> None:
        super().__init__()
        self.n_words, self.size, self.lengths = len(text.words), text.size, text.lengths
        self.first_ngram = self.n_words + len(text.bigrams)
        longest = max(map(len, text.words), default=0)
        powers = np.array([[pow(base, j, PRIME) for j in range(longest + 1)] for base in BASES])
        arrays = {"kinds": kinds_of(text.pattern), "idf": text.idf, "powers": powers, "bigrams": text.bigrams}
        for name, array in arrays.items():
            self._keep(name, array)
        for name, strings in (("words", text.words), ("ngrams", text.char_ngrams if text.lengths else [])):
            keys = np.array([key_of(string) for string in strings], np.int64)
            order = np.argsort(keys, kind="stable")
            if len(np.unique(keys)) < len(keys):
                raise SettingError(
                    f"two of {len(keys):,} {name} with the same key",
                    wanted="a vocabulary whose strings have different keys",
                    next_step="train the model again with --min-texts 2",
                    where="run",
                )
            self._keep(f"{name}_keys", keys[order])
            self._keep(f"{name}_numbers", order.astype(np.int32))

    def _keep(self, name: str, array: np.ndarray) -> None:
        self.register_buffer(name, torch.from_numpy(np.array(array)))

    def forward(self, code_points: Tensor) -> Features:
        """Maps code points (n, C) int32, with 0 after the end of a text, to the features of the texts."""
        n = code_points.shape[0]
        longest = 2 if self.lengths is None else max(2, self.lengths[1])
        codes = pad(code_points.to(torch.int64), (0, longest))
        words = _divided(codes, self.get_buffer("kinds"))
        ids = self._word_ids(codes, words)
        found = [ids]
        if len(self.get_buffer("bigrams")):
            found.append(self._bigrams(ids))
        if len(self.get_buffer("ngrams_keys")):
            found += self._ngrams(codes, words)
        columns = torch.cat(found, 1)
        occurrences = columns + torch.arange(n).unsqueeze(1) * self.size
        spare = torch.full((1,), n, dtype=torch.int64) * self.size
        known = occurrences.flatten()[torch.nonzero(columns.flatten() >= 0).squeeze(1)]
        different, counts = torch.unique(torch.cat([known, spare]), return_counts=True)
        texts, features = different // self.size, different % self.size
        return self._weighed(n, texts, features, counts)

    def _weighed(self, n: int, texts: Tensor, features: Tensor, counts: Tensor) -> Features:
        """(1 + ln tf) · idf, scaled to length 1 per text; 0 for the spare feature, which belongs to no text."""
        is_real = texts < n
        texts = torch.where(is_real, texts, 0)
        values = (counts.float().log() + 1) * self.get_buffer("idf").index_select(0, features) * is_real
        squares = torch.zeros(n).scatter_add(0, texts, values.square())
        scales = squares.clamp(min=torch.finfo(torch.float32).tiny).rsqrt()
        return Features(texts, features, values * scales.index_select(0, texts))

    def _word_ids(self, codes: Tensor, words: Words) -> Tensor:
        """The columns of the words, (n, C + 1) in their order, -1 for unknown ones and where there is none."""
        powers = self.get_buffer("powers")
        places = words.places.clamp(max=powers.shape[1] - 1)
        sums = []
        for of_base in powers:
            parts = codes * of_base[places] % PRIME
            sums.append(torch.zeros_like(words.sizes).scatter_add(1, words.numbers, parts) % PRIME)
        return torch.where(words.sizes > 0, self._found("words", joined(*sums)), -1)

    def _bigrams(self, ids: Tensor) -> Tensor:
        """The columns of the bigrams, (n, C), -1 where there is none."""
        bigrams = self.get_buffer("bigrams")
        first, second = ids[:, :-1], ids[:, 1:]
        codes = first * self.n_words + second
        positions = positions_in(bigrams, codes)
        known = (bigrams[positions] == codes) & (first >= 0) & (second >= 0)
        return torch.where(known, positions + self.n_words, -1)

    def _ngrams(self, codes: Tensor, words: Words) -> list[Tensor]:
        """The columns of the character n-grams, (n, C) per length, those of the start of a word and the others."""
        assert self.lengths is not None
        least, most = self.lengths
        width = codes.shape[1]
        ahead = pad(codes, (0, most))
        rest = words.sizes.gather(1, words.numbers) - words.places  # characters of the word from here on
        inside = words.numbers > 0
        is_start = inside & (words.places == 0)
        plain = [torch.zeros_like(codes) for _ in BASES]
        after_blank = [torch.full_like(codes, ord(" ")) for _ in BASES]
        found = []
        for j in range(most):
            following = torch.where(rest > j, ahead[:, j : j + width], ord(" "))
            ends = rest >= j  # the blank at the end of a word is the last character of an n-gram
            powers = [[pow(base, j + i, PRIME) for base in BASES] for i in (0, 1)]
            if j + 1 >= least and j > 0:
                key = joined(*(part % PRIME for part in after_blank))
                found.append(torch.where(is_start & (rest >= j - 1), self._found("ngrams", key), -1))
            elif j + 1 >= least:
                blank = joined(*(part % PRIME for part in after_blank))
                found += [torch.where(is_start, self._found("ngrams", blank), -1)] * 2  # before and after a word
            plain = [part + following * power for part, power in zip(plain, powers[0], strict=True)]
            after_blank = [part + following * power for part, power in zip(after_blank, powers[1], strict=True)]
            if j + 1 >= least:
                key = joined(*(part % PRIME for part in plain))
                found.append(torch.where(inside & ends, self._found("ngrams", key), -1))
        return [torch.where(columns >= 0, columns + self.first_ngram, -1) for columns in found]

    def _found(self, name: str, keys: Tensor) -> Tensor:
        """The numbers of strings with these keys; -1 for those that are not there."""
        known = self.get_buffer(f"{name}_keys")
        if not len(known):
            return torch.full_like(keys, -1)
        positions = positions_in(known, keys)
        return torch.where(known[positions] == keys, self.get_buffer(f"{name}_numbers")[positions].long(), -1)


class Words(NamedTuple):
    """The words of n texts: the word to which each of their characters belongs.

    numbers: (n, C) the number of the word, from 1 on; 0 for none.
    places: (n, C) the place of the character in its word.
    sizes: (n, C + 1) the characters of each word; 0 for number 0 and where there is no such word.
    """

    numbers: Tensor
    places: Tensor
    sizes: Tensor


def _divided(codes: Tensor, kinds: Tensor) -> Words:
    """Divides texts, (n, C) with a blank at the end, into words."""
    n, width = codes.shape
    kind = kinds[codes.clamp(0, N_KINDS - 1)].to(torch.int64)
    before = pad(kind, (1, 0))[:, :width]
    inside = kind != BLANK
    is_start = inside & ((kind == SINGLE) | (kind != before))
    numbers = torch.where(inside, is_start.long().cumsum(1), 0)
    at = torch.arange(width).expand(n, width)
    none = torch.zeros(n, width + 1, dtype=torch.int64)
    starts = none.scatter_add(1, numbers, torch.where(is_start, at, 0))
    sizes = none.scatter_add(1, numbers, inside.long())
    return Words(numbers, torch.where(inside, at - starts.gather(1, numbers), 0), sizes)


def joined(first: Tensor, second: Tensor) -> Tensor:
    """The keys of strings from their two polynomials."""
    return first * (1 << 31) + second


def key_of(string: str) -> int:
    """The key of a string."""
    first, second = (
        sum(ord(c) * pow(base, j, PRIME) % PRIME for j, c in enumerate(string)) % PRIME for base in BASES
    )
    return (first << 31) + second


@functools.cache
def kinds_of(pattern: TokenPattern) -> np.ndarray:
    """The kind of each code point, (N_KINDS,) uint8, by the regular expression of the words.

    BLANK for what is between words, SINGLE for a character that is a word by itself, LETTER or SIGN for those that
    are a word together with neighbors of the same kind.
    """
    regex = re.compile(word_pattern(pattern, ascii_only=False))
    characters = [chr(code) for code in range(N_KINDS)]
    alone = set(regex.findall(" ".join(characters))) - {END}
    twice = set(regex.findall(" ".join(character * 2 for character in characters)))
    before_a = set(regex.findall(" ".join(f"{character}a" for character in characters)))
    kinds = np.zeros(N_KINDS, np.uint8)
    for code, character in enumerate(characters):
        if character in alone:
            is_run = character * 2 in twice
            kinds[code] = SINGLE if not is_run else LETTER if f"{character}a" in before_a else SIGN
    return kinds
