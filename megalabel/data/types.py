"""The values of a data set: what every format reads and writes."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.findings import Finding
from megalabel.data.label_metadata import LabelMetadata
from megalabel.data.texts import Texts


@dataclass(frozen=True, eq=False)  # arrays have no single truth value
class Unseen:
    """True labels of a test split that have no column, because no training text has them.

    A model cannot predict these labels. Metrics that divide by the number of true labels (recall, nDCG) must
    still count them; otherwise they overestimate the model.

    Attributes:
        rows: (U,) int64, ascending, the row of the text that has the label.
        names: the U label names.
    """

    rows: np.ndarray
    names: Texts

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False, repr=False)
class Split:
    """The training or the test split of a data set.

    Attributes:
        texts: the N texts.
        labels: (N, L) float32 CSR of ones, with sorted indices and no duplicates.
        filter: (F, 2) int64 pairs (row, label) that are removed from predictions before the top k is taken; None
            where there are none.
        features: (N, V) float32 CSR of a bag-of-words file, which holds no texts; None otherwise.
        unseen: true labels outside the L columns, or None; see `Unseen`.
        weights: (N,) float64, 0 or more, the factor of the loss of each text in training; None for 1 each. Metrics
            and label counts do not use them.
        sources: the N names of where the texts come from, "" where that is not known; None without sources.
    """

    texts: Texts
    labels: sp.csr_matrix
    filter: np.ndarray | None = None
    features: sp.csr_matrix | None = None
    unseen: Unseen | None = None
    weights: np.ndarray | None = None
    sources: Texts | None = None

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def __repr__(self) -> str:
        n_labels = self.labels.shape[1]
        return f"{type(self).__name__}({len(self):,} texts, {n_labels:,} labels, {self.labels.nnz:,} pairs)"

    def n_true(self) -> np.ndarray:
        """The number of true labels of each text, including labels without a column: (N,) int64."""
        counts: np.ndarray = np.diff(self.labels.indptr).astype(np.int64)
        return counts if self.unseen is None else counts + np.bincount(self.unseen.rows, minlength=len(self))


@dataclass(frozen=True, eq=False, repr=False)
class CorpusData:
    """The values of a data set; `megalabel.data.corpus.Corpus` adds the ways to open one.

    Attributes:
        name: the name of the data set, used in reports and to look up the propensity constants.
        train: the training split.
        test: the test split, or None.
        label_texts: the L label names; two labels may have the same name.
        path: the folder or file that the data set was read from; None for one made in memory.
        metadata: URIs, notations, further names and broader labels of a source that has them; None where it has
            none of these.
        findings: what reading found, such as every guess of the reader; see `Finding.notable`.
        notes: what was chosen in reading where the files allow a choice, one sentence per choice.
        propensity: A and B of the propensity model where the user gave them; None for those of the name.
        opened: what was said in opening it, as keyword arguments of `Corpus.open` that JSON can hold.
    """

    name: str
    train: Split
    test: Split | None
    label_texts: Texts
    path: Path | None = None
    metadata: LabelMetadata | None = None
    findings: tuple[Finding, ...] = ()
    notes: tuple[str, ...] = ()
    propensity: tuple[float, float] | None = None
    opened: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        test = "no" if self.test is None else f"{len(self.test):,}"
        counts = f"{len(self.train):,} training texts, {test} test texts, {self.n_labels:,} labels"
        return f"{type(self).__name__}({self.name!r}: {counts})"

    @property
    def label_texts_are_numbers(self) -> bool:
        """Whether every label text is only a number, which says nothing about the texts that have the label."""
        return self.label_texts.are_numbers()

    @property
    def label_uris(self) -> Texts | None:
        """The L URIs of the labels, or None."""
        return None if self.metadata is None else self.metadata.uris

    @property
    def n_labels(self) -> int:
        """The number of labels, L."""
        return int(self.train.labels.shape[1])
