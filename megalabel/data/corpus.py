"""A data set: training and test texts with their label sets, label texts and filter pairs.

This is the contract that readers fill and everything later reads.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import scipy.sparse as sp

from megalabel.data.texts import Texts


@dataclass(frozen=True)
class Split:
    """One side of a data set.

    texts: N texts. labels: (N, L) float32 CSR of ones, indices sorted, no duplicates.
    filter: (F, 2) int64 pairs (row, label) that are removed from predictions before the top k, or None.
    features: (N, V) float32 CSR for bag-of-words files that hold no text, else None.
    """

    texts: Texts
    labels: sp.csr_matrix
    filter: np.ndarray | None = None
    features: sp.csr_matrix | None = None

    def __len__(self) -> int:
        return int(self.labels.shape[0])


@dataclass(frozen=True)
class Corpus:
    """A data set, read: `Corpus.open(folder)` or `Corpus.bundled("wordnet-4k")`."""

    name: str
    train: Split
    test: Split | None
    label_texts: Texts
    path: Path | None = None

    @property
    def n_labels(self) -> int:
        """L."""
        return int(self.train.labels.shape[1])
