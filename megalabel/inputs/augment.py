"""Which rows a model trains on: texts, and label texts as further rows, as views that copy nothing.

Renée trains on every label text as if it were one more training text whose only label is itself
(Jain et al., MLSys 2023).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
import scipy.sparse as sp

from megalabel.errors import SettingError
from megalabel.inputs.token_store import TokenStore, stored

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.inputs.tokenizer import TextTokenizer


class Rows(Protocol):
    """n training rows: token counts, tokens and positive labels of any of them."""

    lengths: np.ndarray  # (n,) int64

    def __len__(self) -> int: ...

    def tokens(self, rows: np.ndarray) -> list[np.ndarray]:
        """The token ids of some rows."""
        ...

    def positives(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (position in `rows`, label), both (P,) int64, of some rows."""
        ...


class TextRows:
    """The rows of a token store with their label sets, all of them or the ones in `keep`.

    store: N texts; labels: (N, L) CSR; keep: (n,) row numbers, for a training side without its
    validation rows.
    """

    def __init__(self, store: TokenStore, labels: sp.csr_matrix, keep: np.ndarray | None = None) -> None:
        if len(store) != labels.shape[0]:
            raise SettingError(
                f"{len(store)} texts and {labels.shape[0]} label sets",
                wanted="as many of the one as of the other",
                next_step="make the token store from the same split",
            )
        self.store, self.labels = store, labels
        self.keep = np.arange(len(store)) if keep is None else np.asarray(keep, dtype=np.int64)
        self.lengths = store.lengths[self.keep]

    def __len__(self) -> int:
        return len(self.keep)

    def tokens(self, rows: np.ndarray) -> list[np.ndarray]:
        """The token ids of some rows."""
        return self.store.gather(self.keep[rows])

    def positives(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (position in `rows`, label) of some rows."""
        kept = self.keep[rows]
        starts = self.labels.indptr[kept].astype(np.int64)
        counts = self.labels.indptr[kept + 1] - starts
        where = np.repeat(np.arange(len(rows)), counts)
        first = np.repeat(starts - np.concatenate([[0], np.cumsum(counts)[:-1]]), counts)
        return where, self.labels.indices[first + np.arange(len(where))].astype(np.int64)


class WithLabelTexts:
    """`base` and behind it one row per label: its text, and itself as the only positive.

    label_store: L texts; labels: (n,) ids of those that become rows, all of them where None.
    """

    def __init__(self, base: Rows, label_store: TokenStore, labels: np.ndarray | None = None) -> None:
        self.base, self.label_store = base, label_store
        self.labels = np.arange(len(label_store)) if labels is None else np.asarray(labels, dtype=np.int64)
        self.lengths = np.concatenate([base.lengths, label_store.lengths[self.labels]])

    def __len__(self) -> int:
        return len(self.base) + len(self.labels)

    def tokens(self, rows: np.ndarray) -> list[np.ndarray]:
        """The token ids of some rows."""
        n, out = len(self.base), [np.empty(0)] * len(rows)
        text, label = np.flatnonzero(rows < n), np.flatnonzero(rows >= n)
        for where, found in (
            (text, self.base.tokens(rows[text])),
            (label, self.label_store.gather(self.labels[rows[label] - n])),
        ):
            for position, ids in zip(where, found, strict=True):
                out[position] = ids
        return out

    def positives(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Pairs (position in `rows`, label) of some rows."""
        n = len(self.base)
        text, label = np.flatnonzero(rows < n), np.flatnonzero(rows >= n)
        where, labels = self.base.positives(rows[text])
        return np.concatenate([text[where], label]), np.concatenate([labels, self.labels[rows[label] - n]])


def label_counts(rows: Rows, n_labels: int) -> np.ndarray:
    """How many of the training rows have each label: (L,) int64. For priors, never for propensities."""
    counts = np.zeros(n_labels, np.int64)
    for start in range(0, len(rows), 65536):
        _, labels = rows.positives(np.arange(start, min(start + 65536, len(rows))))
        counts += np.bincount(labels, minlength=n_labels)
    return counts


def training_rows(
    data: Corpus, words: TextTokenizer, max_length: int, kept: np.ndarray, label_texts: bool
) -> TextRows | WithLabelTexts:
    """The training texts `kept` (n,) of a corpus, and where asked for its label texts that are not blank."""
    rows = TextRows(stored(data, "trn", words, max_length), data.train.labels, kept)
    if not label_texts:
        return rows
    named = np.flatnonzero([bool(name.strip()) for name in data.label_texts])  # a blank says nothing
    return WithLabelTexts(rows, stored(data, "lbl", words, max_length), named)
