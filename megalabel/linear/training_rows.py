"""The training rows of linear models: texts, and label texts where these help, as sparse features."""

from __future__ import annotations

import functools
import itertools
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.words import EMOJI, END, TokenPattern, split_words
from megalabel.linear.label_texts import MIN_PRECISION, add_label_text_rows, label_text_precision
from megalabel.phases import phase
from megalabel.progress import Counted

SAMPLE = 10_000  # texts whose words are counted
ALONE_SAMPLE, ALONE_READ = 4_000, 1_000  # texts, evenly spaced, and characters per text that are compared
FEWEST = 100  # minimum number of texts to judge how often words repeat
MANY_EMOJI = 0.02  # minimum fraction of texts with emoji for a message that they are not read
MANY_ALONE = 0.1  # minimum fraction of texts with mostly unique words for character n-grams to be used


class TrainingRows(NamedTuple):
    """N rows of V features with their labels; the rows of the n label texts are the last.

    Attributes:
        text: the vocabulary of the features.
        x: (N, V) float32 CSR.
        labels: (N, L) CSR.
        label_text_rows: (n,) int64, the labels whose label texts are rows.
    """

    text: SparseText
    x: sp.csr_matrix
    labels: sp.csr_matrix
    label_text_rows: np.ndarray


@dataclass(frozen=True)
class WordFeatureOptions:
    """How texts become features: options of the recipes `linear` and `hybrid`.

    Attributes:
        token_pattern: how texts are split into words; see `split_words`.
        bigrams: whether pairs of neighboring words are features.
        bigram_weight: what the idf of a bigram is multiplied by.
        char_ngrams: whether character n-grams are features: "yes", "no", or "auto", which decides by
            `texts_of_own_words`.
        char_ngram_lengths: the least and the largest length of character n-grams.
        char_ngrams_max_words: use character n-grams only where the median text has at most so many words; 0 for
            any.
        vocabulary: the maximum number of features.
        min_texts: the number of texts in which a feature must occur at least.
        label_texts: whether label texts become training rows: "yes", "no", or "auto", which decides by
            `label_text_precision`.
    """

    token_pattern: TokenPattern
    bigrams: bool
    bigram_weight: float
    char_ngrams: str
    char_ngram_lengths: tuple[int, int]
    char_ngrams_max_words: int
    vocabulary: int
    min_texts: int
    label_texts: str

    @phase("reading the features")
    def rows(
        self, texts: Texts, labels: sp.csr_matrix, names: Texts, *, seed: int, say: Callable[[str], Any]
    ) -> TrainingRows:
        """Learns the vocabulary of texts and label texts, and makes the training rows.

        Args:
            texts: n training texts.
            labels: (n, L) CSR, their labels.
            names: the L label texts.
            seed: seeds the sample of texts by which `label_texts="auto"` decides.
            say: a function that takes lines of text about what was decided and made.
        """
        if self.token_pattern == "letters" and (share := share_with_emoji(texts)) >= MANY_EMOJI:
            say(f"emoji: not read, though {share:.0%} of the texts have some (--token-pattern words reads them)")
        char_ngrams = self._use_char_ngrams(texts, say)
        learn = functools.partial(self._learn, char_ngrams=char_ngrams)
        wanted = self.label_texts
        if wanted == "auto" and names.are_numbers():
            wanted = "no"
            say("label texts: not used as training rows (they are only numbers)")
        text, x = learn(texts) if wanted == "no" else learn(texts, names)
        added = x[:0]
        if wanted != "no":
            x, named = x[: len(texts)], x[len(texts) :]
            precision = label_text_precision(x, labels, named, seed=seed)
            use = wanted == "yes" or precision >= MIN_PRECISION
            say(
                f"label texts: {'' if use else 'not '}used as training rows"
                f" (for the most similar quarter of a sample, the label is correct in {precision:.0%})"
            )
            if use:
                added = named
            else:  # then the document frequencies must not include the label texts either
                text, x = learn(texts)
                added = x[:0]
        x, labels, label_text_rows = add_label_text_rows(x, labels, added)
        say(f"features: {text.size:,} features in {x.shape[0]:,} rows, {x.nnz:,} values")
        return TrainingRows(text, x, labels, label_text_rows)

    def _use_char_ngrams(self, texts: Texts, say: Callable[[str], Any]) -> bool:
        if self.char_ngrams == "auto":
            alone = texts_of_own_words(texts, self.token_pattern)
            if alone >= MANY_ALONE:
                say(f"character n-grams: used (most words of {alone:.0%} of the texts occur in no other text)")
            return alone >= MANY_ALONE
        if self.char_ngrams == "yes" and not self._short_enough(texts):
            limit = self.char_ngrams_max_words
            say(f"character n-grams: not used (half of the texts have more than {limit} words)")
            return False
        return self.char_ngrams == "yes"

    def _short_enough(self, texts: Texts) -> bool:
        """Whether the median length, in a sample of the first texts, is small enough for character n-grams."""
        if not self.char_ngrams_max_words:
            return True
        return median_words(texts) <= self.char_ngrams_max_words

    def _learn(self, *texts: Texts, char_ngrams: bool) -> tuple[SparseText, sp.csr_matrix]:
        return SparseText.learn_rows(
            *(Counted(part, "reading the features") for part in texts),
            vocabulary=self.vocabulary,
            min_texts=self.min_texts,
            pattern=self.token_pattern,
            bigrams=self.bigrams,
            bigram_weight=self.bigram_weight,
            char_ngrams=self.char_ngram_lengths if char_ngrams else None,
        )


def median_words(texts: Texts) -> float:
    """The median number of words of the first 10,000 texts."""
    return float(np.median([len(text.split()) for text in texts[:SAMPLE]]))


def share_with_emoji(texts: Texts) -> float:
    """The fraction of the texts (of a sample, evenly spaced) that hold emoji."""
    sample = range(0, len(texts), max(1, -(-len(texts) // ALONE_SAMPLE)))
    return sum(EMOJI.search(texts[i]) is not None for i in sample) / max(len(sample), 1)


def texts_of_own_words(texts: Texts, pattern: TokenPattern) -> float:
    """The fraction of texts, in an evenly spaced sample, more than half of whose words occur in no other text.

    In scripts without spaces between words it is large, since a "word" is a whole sentence. Texts without words
    are not counted. The result is 0 for fewer than 100 texts, which are too few to judge.
    """
    if len(texts) < FEWEST:
        return 0.0
    step = max(1, -(-len(texts) // ALONE_SAMPLE))
    sets: list[set[str]] = []
    current: set[str] = set()
    for word in split_words((texts[i][:ALONE_READ] for i in range(0, len(texts), step)), pattern):
        if word == END:
            sets.append(current)
            current = set()
        else:
            current.add(word)
    counts = Counter(itertools.chain.from_iterable(sets))
    some = [words for words in sets if words]
    alone = [sum(counts[word] == 1 for word in words) > len(words) / 2 for words in some]
    return sum(alone) / max(len(alone), 1)
