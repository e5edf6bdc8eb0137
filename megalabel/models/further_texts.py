"""Texts that a trained model is to learn, with labels that they have and labels that they do not have."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sp

from megalabel.data.types import CorpusData


class FurtherTexts(NamedTuple):
    """N texts with labels.

    inputs: the texts, or CSR (N, V) for a model over bags of words.
    labels: (N, L) CSR of ones.
    weights: (N,) above 0, the factor of the loss of each text; None for 1 each.
    rejected: (N, L) CSR of ones, labels that the texts do not have; None where nothing is known of these.
    """

    inputs: Any
    labels: sp.csr_matrix
    weights: np.ndarray | None
    rejected: sp.csr_matrix | None = None

    def of(self, rows: np.ndarray) -> FurtherTexts:
        """Some of the texts, (n,) int64, with their labels."""
        inputs = self.inputs[rows] if sp.issparse(self.inputs) else [self.inputs[i] for i in rows.tolist()]
        return FurtherTexts(inputs, self.labels[rows], None if self.weights is None else self.weights[rows])

    def with_labels(self, labels: sp.csr_matrix) -> FurtherTexts:
        """The same texts with other labels."""
        return FurtherTexts(self.inputs, labels, self.weights)

    def learnable(self) -> FurtherTexts:
        """The texts that have a label, and a weight above 0, with their labels."""
        some = np.diff(self.labels.indptr) > 0
        if self.weights is not None:
            some &= self.weights > 0
        return self if some.all() else self.of(np.flatnonzero(some))

    def wrong(self) -> FurtherTexts:
        """The texts with rejected labels and a weight above 0, and these labels as `labels`."""
        rejected = sp.csr_matrix(self.labels.shape, dtype=np.float32) if self.rejected is None else self.rejected
        return self.with_labels(rejected).learnable()


def in_columns(labels: sp.csr_matrix, columns: np.ndarray, n_labels: int) -> sp.csr_matrix:
    """Labels (N, L) with other ids, columns (L,), −1 for those that are left out: (N, n_labels) CSR of ones."""
    pairs = labels.tocoo()
    kept = (columns[pairs.col] >= 0) & (pairs.data > 0)
    where = pairs.row[kept], columns[pairs.col[kept]]
    found = sp.csr_matrix((np.ones(len(where[0]), np.float32), where), shape=(labels.shape[0], n_labels))
    found.data[:] = 1  # pairs that became one were added
    return found


def in_members(labels: sp.csr_matrix, target: np.ndarray) -> sp.csr_matrix:
    """Labels (N, n) as those of which they were made, (N, L) CSR.

    target: (L,) the label that each of these became, −1 for none.
    """
    members = np.flatnonzero(target >= 0)  # a text of a merged label is one of each of its members
    shape = (labels.shape[1], len(target))
    return (labels @ sp.csr_matrix((np.ones(len(members), np.float32), (target[members], members)), shape)).tocsr()


def columns_of(names: Sequence[str], data: CorpusData) -> np.ndarray:
    """The id in a model of each label of a data set, −1 where the model lacks it: (L of the data set,) int64.

    Labels in the same order keep their ids; others are matched by name, the first of several with a name.
    """
    if len(names) == data.n_labels and list(names) == list(data.label_texts):
        return np.arange(data.n_labels)
    ids: dict[str, int] = {}
    for i, name in enumerate(names):
        ids.setdefault(name, i)
    return np.fromiter((ids.get(name, -1) for name in data.label_texts), np.int64, data.n_labels)
