"""A data set: training and test texts with their label sets, label texts and filter pairs.

This is the contract that readers fill and everything later reads.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.data.texts import Texts


@dataclass(frozen=True)
class Unseen:
    """True labels of a test side that have no column, because training never saw them.

    rows (U,) int64, ascending: which text; names: U label names. A model cannot answer them, so a metric that
    divides by the number of true labels (recall, nDCG) counts them, or it flatters the model.
    """

    rows: np.ndarray
    names: Texts

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True)
class Split:
    """One side of a data set.

    texts: N texts. labels: (N, L) float32 CSR of ones, indices sorted, no duplicates.
    filter: (F, 2) int64 pairs (row, label) that are removed from predictions before the top k, or None.
    features: (N, V) float32 CSR for bag-of-words files that hold no text, else None.
    unseen: true labels outside the L columns, or None; see `Unseen`.
    """

    texts: Texts
    labels: sp.csr_matrix
    filter: np.ndarray | None = None
    features: sp.csr_matrix | None = None
    unseen: Unseen | None = None

    def __len__(self) -> int:
        return int(self.labels.shape[0])

    def n_true(self) -> np.ndarray:
        """How many true labels each text has, those without a column too: (N,) int64."""
        known = np.diff(self.labels.indptr).astype(np.int64)
        return known if self.unseen is None else known + np.bincount(self.unseen.rows, minlength=len(self))


@dataclass(frozen=True)
class Corpus:
    """A data set, read: `Corpus.open(folder)`, `Corpus.bundled("wordnet-4k")` or `Corpus.of(texts, labels)`.

    label_texts: L names; two labels may share one. label_uris: L identifiers where the source has them apart
    from names (Annif vocabularies), else None.
    """

    name: str
    train: Split
    test: Split | None
    label_texts: Texts
    path: Path | None = None
    label_uris: Texts | None = None

    @property
    def n_labels(self) -> int:
        """L."""
        return int(self.train.labels.shape[1])

    @property
    def propensity_constants(self) -> tuple[float, float]:
        """A and B of the propensity model, from the catalogue by this data set's name, else 0.55 and 1.5."""
        from megalabel.data.catalog import propensity_constants

        return propensity_constants(self.name)

    @classmethod
    def open(cls, path: str | Path, name: str | None = None, *, format: str | None = None) -> Corpus:
        """Reads a data set from a folder or a file, whose format is found out; see `megalabel.data.readers`.

        Args:
            path: a folder, or one file of training texts (JSON lines, CSV, Parquet, Annif, XMLRepository).
            name: what the data set is called, for the catalogue and for reports; default: the folder's name.
            format: needed only where a folder holds several formats.

        Raises:
            DataError: nothing readable there, or a value that must not be trained on: with file and line.
        """
        from megalabel.data.readers import read

        return read(path, name=name, format=format)

    @classmethod
    def bundled(cls, name: str = "wordnet-4k") -> Corpus:
        """A data set inside the package: "wordnet-4k" (4,044 labels) or "wordnet" (145,716 labels).

        Texts are definitions of WordNet 3.0, labels are words; its licence lies beside the files.
        """
        from megalabel.data.catalog import bundled_folder

        return cls.open(bundled_folder(name), name)

    @classmethod
    def of(
        cls,
        texts: Iterable[str],
        labels: Sequence[Sequence[int]] | Sequence[Sequence[str]] | Any,
        label_texts: Iterable[str] | None = None,
        *,
        test_texts: Iterable[str] | None = None,
        test_labels: Sequence[Sequence[int]] | Sequence[Sequence[str]] | Any = None,
        filter: np.ndarray | None = None,
        test_filter: np.ndarray | None = None,
        name: str = "corpus",
    ) -> Corpus:
        """A data set from values in memory, checked as files are.

        Args:
            texts: N training texts.
            labels: their labels: a list of ids each, a list of names each, or a scipy sparse (N, L) of ones.
            label_texts: L names. Without them, names get ids by first appearance in `labels`, and ids are
                their own names.
            test_texts, test_labels: the test side. Names that training never saw end in `test.unseen`.
            filter, test_filter: (F, 2) integer pairs (row, label).
            name: as in `open`.

        Raises:
            DataError: counts that differ, ids out of range, names that `label_texts` lacks, no label at all.
        """
        from megalabel.data.memory import corpus_of

        return corpus_of(
            (texts, labels, filter),
            (test_texts, test_labels, test_filter),
            label_texts=label_texts,
            name=name,
        )

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of texts, labels, names and filters: equal for equal data, however stored."""
        total = hashlib.sha256(self.label_texts.sha256().encode())
        for split in (self.train, self.test):
            if split is None:
                total.update(b"-")
                continue
            total.update(split.texts.sha256().encode())
            total.update(np.asarray(split.labels.shape, dtype="<i8").tobytes())
            for part in (split.labels.indptr, split.labels.indices):
                total.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
            if split.filter is not None:
                total.update(np.ascontiguousarray(split.filter, dtype="<i8").tobytes())
            if split.features is not None:
                for part in (split.features.indptr, split.features.indices):
                    total.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
                total.update(np.ascontiguousarray(split.features.data, dtype="<f4").tobytes())
        return total.hexdigest()
