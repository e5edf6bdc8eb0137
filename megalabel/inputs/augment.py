"""The rows that a neural model is trained on: texts, and optionally label texts, as views that copy nothing.

Renée trains on every label text as if it were another training text whose only label is itself (Jain et al., MLSys
2023).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy.sparse as sp

from megalabel.data.row_weights import normalized_weights
from megalabel.errors import SettingError
from megalabel.inputs.token_store import TokenStore, open_or_build_tokens

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.inputs.tokenizer import TextTokenizer


class Rows(Protocol):
    """n training rows, with the tokens and the positive labels of each.

    Rows with weights have a further attribute `weights`, (n,) float32; without it, or where it is None, all weigh
    the same.
    """

    lengths: np.ndarray  # (n,) int64, the number of tokens of each row
    max_length: int  # tokens that are read of each text

    def __len__(self) -> int: ...

    def tokens(self, rows: np.ndarray) -> list[np.ndarray]:
        """The token ids of some rows."""
        ...

    def positives(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The positive labels of some rows, as pairs (position in `rows`, label), both (P,) int64."""
        ...


class TextRows:
    """The rows of a token store with their labels.

    Args:
        store: the tokens of N texts.
        labels: (N, L) CSR.
        keep: (n,) the rows to use, such as the training texts without those held out; default: all.
        weights: (n,) float32, their weights; None for 1 each.

    Raises:
        SettingError: the numbers of texts and label sets differ.
    """

    def __init__(
        self,
        store: TokenStore,
        labels: sp.csr_matrix,
        keep: np.ndarray | None = None,
        weights: np.ndarray | None = None,
    ) -> None:
        if len(store) != labels.shape[0]:
            raise SettingError(
                f"{len(store)} texts and {labels.shape[0]} label sets",
                wanted="the same number of both",
                next_step="make the token store from the same split",
            )
        self.store, self.labels, self.weights = store, labels, weights
        self.keep = np.arange(len(store)) if keep is None else np.asarray(keep, dtype=np.int64)
        self.lengths = store.lengths[self.keep]
        self.max_length = int(store.manifest["max_length"])

    def __len__(self) -> int:
        return len(self.keep)

    def tokens(self, rows: np.ndarray) -> list[np.ndarray]:
        """The token ids of some rows."""
        return self.store.gather(self.keep[rows])

    def positives(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The positive labels of some rows, as pairs (position in `rows`, label), both (P,) int64."""
        kept = self.keep[rows]
        starts = self.labels.indptr[kept].astype(np.int64)
        counts = self.labels.indptr[kept + 1] - starts
        where = np.repeat(np.arange(len(rows)), counts)
        first = np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        return where, self.labels.indices[first + np.arange(len(where))].astype(np.int64)


class WithLabelTexts:
    """The rows of `base`, followed by one row per label: its text, with the label itself as the only positive.

    The weight of a label text is 1, the mean weight of the texts.

    Args:
        base: the rows of the texts.
        label_store: the tokens of the L label texts.
        labels: (n,) the labels whose texts become rows; default: all.
    """

    def __init__(self, base: Rows, label_store: TokenStore, labels: np.ndarray | None = None) -> None:
        self.base, self.label_store = base, label_store
        self.labels = np.arange(len(label_store)) if labels is None else np.asarray(labels, dtype=np.int64)
        self.lengths = np.concatenate([base.lengths, label_store.lengths[self.labels]])
        self.max_length = base.max_length
        weights: np.ndarray | None = getattr(base, "weights", None)
        ones = np.ones(len(self.labels), np.float32)
        self.weights = None if weights is None else np.concatenate([weights, ones])

    def __len__(self) -> int:
        return len(self.base) + len(self.labels)

    def tokens(self, rows: np.ndarray) -> list[np.ndarray]:
        """The token ids of some rows."""
        n, out = len(self.base), [np.empty(0)] * len(rows)
        text, label = np.flatnonzero(rows < n), np.flatnonzero(rows >= n)
        for where, tokens in (
            (text, self.base.tokens(rows[text])),
            (label, self.label_store.gather(self.labels[rows[label] - n])),
        ):
            for position, ids in zip(where, tokens, strict=True):
                out[position] = ids
        return out

    def positives(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The positive labels of some rows, as pairs (position in `rows`, label), both (P,) int64."""
        n = len(self.base)
        text, label = np.flatnonzero(rows < n), np.flatnonzero(rows >= n)
        where, labels = self.base.positives(rows[text])
        return np.concatenate([text[where], label]), np.concatenate([labels, self.labels[rows[label] - n]])


def label_counts(rows: Rows, n_labels: int) -> np.ndarray:
    """The number of training rows that have each label: (L,) int64, for priors (propensities count texts only)."""
    counts = np.zeros(n_labels, np.int64)
    for start in range(0, len(rows), 65536):
        _, labels = rows.positives(np.arange(start, min(start + 65536, len(rows))))
        counts += np.bincount(labels, minlength=n_labels)
    return counts


def training_rows(
    data: Corpus, tokenizer: TextTokenizer, max_length: int, kept: np.ndarray, label_texts: bool
) -> TextRows | WithLabelTexts:
    """Makes the training rows of a corpus.

    Args:
        data: the corpus.
        tokenizer: the tokenizer.
        max_length: the maximum number of tokens per text.
        kept: (n,) the training texts to use.
        label_texts: whether label texts that are not blank become rows as well.
    """
    weights = normalized_weights(data.train, kept)
    rows = TextRows(open_or_build_tokens(data, "trn", tokenizer, max_length), data.train.labels, kept, weights)
    if not label_texts:
        return rows
    named = np.flatnonzero([bool(name.strip()) for name in data.label_texts])
    return WithLabelTexts(rows, open_or_build_tokens(data, "lbl", tokenizer, max_length), named)
