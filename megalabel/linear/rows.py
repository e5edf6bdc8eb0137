"""The rows that linear models learn from: texts and, where that helps, label texts, as sparse features."""

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
from megalabel.inputs.words import Kind
from megalabel.linear.label_texts import ENOUGH, precision_of_the_surest, with_own_texts

PIECES = 3, 5  # letters of the pieces of words
SOME = 10_000  # texts whose words are counted


class LinearRows(NamedTuple):
    """N rows of V features with their labels, those of the n label texts last.

    text: what made the features.
    x: (N, V) float32 CSR.
    labels: (N, L) CSR.
    own: (n,) int64, the labels whose texts are rows.
    """

    text: SparseText
    x: sp.csr_matrix
    labels: sp.csr_matrix
    own: np.ndarray


@dataclass(frozen=True)
class Words:
    """How texts become features: the knobs of the recipes `linear` and `hybrid`, by their names."""

    split: Kind
    word_pairs: bool
    pieces: bool
    piece_words: int
    vocabulary: int
    min_texts: int
    label_rows: str

    def rows(
        self, texts: Texts, labels: sp.csr_matrix, names: Texts, *, seed: int, say: Callable[[str], Any]
    ) -> LinearRows:
        """Learns the vocabulary of n texts with labels (n, L) and of L label texts, and makes the rows.

        seed: of the sample of texts by which `label_rows="auto"` decides.
        say: is told what was decided and made.
        """
        pieces = self.pieces and self._short_enough(texts)
        if self.pieces and not pieces:
            say(f"pieces    none: half of the texts have more than {self.piece_words} words")
        learn = functools.partial(self._learn, pieces=pieces)
        text = learn(texts if self.label_rows == "no" else itertools.chain(texts, names))
        x, taken = text.transform(texts), text.transform([])
        if self.label_rows != "no":
            named = text.transform(names)
            precision = precision_of_the_surest(x, labels, named, seed=seed)
            good = self.label_rows == "yes" or precision >= ENOUGH
            say(f"names     right {precision:.0%} of times where surest: {'' if good else 'no '}rows of their own")
            if good:
                taken = named
            else:  # in how many texts a word stands is then not to be counted with them either
                text = learn(texts)
                x, taken = text.transform(texts), text.transform([])
        x, labels, own = with_own_texts(x, labels, taken)
        say(f"features  {text.size:,} of {x.shape[0]:,} rows, {x.nnz:,} weights")
        return LinearRows(text, x, labels, own)

    def _short_enough(self, texts: Texts) -> bool:
        """Whether pieces are worth their time: half of the texts, or of the first thousands, have few words."""
        if not self.piece_words:
            return True
        return float(np.median([len(text.split()) for text in texts[:SOME]])) <= self.piece_words

    def _learn(self, texts: Iterable[str], pieces: bool) -> SparseText:
        return SparseText.learn(
            texts,
            vocabulary=self.vocabulary,
            min_texts=self.min_texts,
            kind=self.split,
            pairs=self.word_pairs,
            pieces=PIECES if pieces else None,
        )
