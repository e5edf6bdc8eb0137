"""The training rows of linear models: texts, and label texts where these help, as sparse features."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.words import TokenPattern
from megalabel.linear.label_texts import MIN_PRECISION, add_label_text_rows, label_text_precision

CHAR_NGRAMS = 3, 5  # the least and the largest length of character n-grams
SAMPLE = 10_000  # texts whose words are counted


class TrainingRows(NamedTuple):
    """N rows of V features with their labels; the rows of the n label texts are the last.

    Attributes:
        text: the vocabulary of the features.
        x: (N, V) float32 CSR.
        labels: (N, L) CSR.
        label_text_rows: (n,) int64, the labels whose texts are rows.
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
        char_ngrams: whether character n-grams of 3 to 5 characters are features.
        char_ngrams_max_words: use character n-grams only where the median text has at most so many words; 0 for
            any.
        vocabulary: the maximum number of features.
        min_texts: the number of texts in which a feature must occur at least.
        label_texts: whether label texts become training rows: "yes", "no", or "auto", which decides by
            `label_text_precision`.
    """

    token_pattern: TokenPattern
    bigrams: bool
    char_ngrams: bool
    char_ngrams_max_words: int
    vocabulary: int
    min_texts: int
    label_texts: str

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
        char_ngrams = self.char_ngrams and self._short_enough(texts)
        if self.char_ngrams and not char_ngrams:
            limit = self.char_ngrams_max_words
            say(f"character n-grams: not used (half of the texts have more than {limit} words)")
        learn = functools.partial(self._learn, char_ngrams=char_ngrams)
        wanted = self.label_texts
        if wanted == "auto" and names.are_numbers():
            wanted = "no"
            say("label texts: not used as training rows (they are only numbers)")
        text = learn(texts if wanted == "no" else itertools.chain(texts, names))
        x, added = text.transform(texts), text.transform([])
        if wanted != "no":
            named = text.transform(names)
            precision = label_text_precision(x, labels, named, seed=seed)
            use = wanted == "yes" or precision >= MIN_PRECISION
            say(
                f"label texts: {'' if use else 'not '}used as training rows"
                f" (for the most similar quarter of a sample, the label is correct in {precision:.0%})"
            )
            if use:
                added = named
            else:  # then the document frequencies must not include the label texts either
                text = learn(texts)
                x, added = text.transform(texts), text.transform([])
        x, labels, label_text_rows = add_label_text_rows(x, labels, added)
        say(f"features: {text.size:,} features in {x.shape[0]:,} rows, {x.nnz:,} values")
        return TrainingRows(text, x, labels, label_text_rows)

    def _short_enough(self, texts: Texts) -> bool:
        """Whether the median of the texts (of a sample of the first) is short enough for character n-grams."""
        if not self.char_ngrams_max_words:
            return True
        return float(np.median([len(text.split()) for text in texts[:SAMPLE]])) <= self.char_ngrams_max_words

    def _learn(self, texts: Iterable[str], char_ngrams: bool) -> SparseText:
        return SparseText.learn(
            texts,
            vocabulary=self.vocabulary,
            min_texts=self.min_texts,
            pattern=self.token_pattern,
            bigrams=self.bigrams,
            char_ngrams=CHAR_NGRAMS if char_ngrams else None,
        )
