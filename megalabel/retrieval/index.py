"""A searchable index of training texts, label documents, and labels that occur together.

A label document is the sum of the TF-IDF rows of the label's texts, with the label text among them where it is a
row, scaled to length 1. Rows and queries are cut to their heaviest features, so that the time of a search is
bounded for long texts, and queries leave out features of more than a twentieth of the rows, which take half of the
time and change nothing (docs/log.md). The search itself is exact. Rows can be added at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Self

import numpy as np
import scipy.sparse as sp

from megalabel.errors import RESTORE_FOLDER, DataError, FormatError
from megalabel.inputs.tfidf import l2_rows
from megalabel.kernels.merging.ranked import Knowledge, Ranked
from megalabel.kernels.sparse.csr import checked_csr
from megalabel.kernels.sparse.nearest_rows import InvertedIndex
from megalabel.kernels.sparse.sparse_rows import keep_largest, product_keep_largest
from megalabel.retrieval.co_occurrence import labels_beside
from megalabel.storage.manifest import read_manifest, write_manifest
from megalabel.storage.reading import reading

FORMAT = 1
ROW_FEATURES, QUERY_FEATURES, DOCUMENT_FEATURES = 128, 64, 1000  # heaviest features of each that are kept
COMMON, FEW = 0.05, 100  # a query leaves out features of more than both this share of the rows and this many
NEAREST, DOCUMENTS = 50, 20  # rows that vote, and label documents that are compared
INDEX, MATRIX = ("indptr", "rows", "values"), ("data", "indices", "indptr")  # the names of their arrays


class RetrievalIndex:
    """R rows of V features with their labels, and what follows from them.

    Args:
        rows: the R rows, cut to their heaviest features.
        labels: (R, L) CSR, where a row has a label the weight of the row, else 0.
        origins: (R,) int64, the training text of each row, or −1 − l for the text of label l.
        documents: the L label documents.
        beside: (L, L) CSR float32, the probability of a label given another one.
        counts: (L,) float32, the texts per label.

    Raises:
        FormatError: the parts do not fit each other.
    """

    def __init__(
        self,
        rows: InvertedIndex,
        labels: sp.csr_matrix,
        origins: np.ndarray,
        documents: InvertedIndex,
        beside: sp.csr_matrix,
        counts: np.ndarray,
    ) -> None:
        n_features, n_rows, n_labels = rows.n_columns, rows.n_rows, labels.shape[1]
        sizes = labels.shape[0], origins.shape, documents.n_columns, documents.n_rows, beside.shape, counts.shape
        wanted = n_rows, (n_rows,), n_features, n_labels, (n_labels, n_labels), (n_labels,)
        if sizes != wanted:
            raise FormatError(f"parts of sizes {sizes}", wanted=f"{wanted}", next_step=RESTORE_FOLDER)
        self.rows, self.documents, self.origins = rows, documents, origins
        self.known = Knowledge(checked_csr(labels, "labels"), checked_csr(beside, "beside"), counts)
        self._rare = np.diff(rows.indptr) <= max(COMMON * n_rows, FEW)

    @classmethod
    def build(cls, x: sp.csr_matrix, labels: sp.csr_matrix, origins: np.ndarray) -> Self:
        """Indexes rows.

        Args:
            x: (R, V) CSR float32, TF-IDF rows of length 1.
            labels: (R, L) CSR, where a row has a label the weight of the row, by which it counts in votes and
                label documents, else 0.
            origins: (R,) the training text of each row, or −1 − l for the text of label l.

        Raises:
            DataError: the three have different numbers of rows.
        """
        origins = np.asarray(origins, np.int64)
        if not x.shape[0] == labels.shape[0] == len(origins):
            raise DataError(
                f"{x.shape[0]} rows, labels of {labels.shape[0]}, origins of {len(origins)}",
                wanted="labels and an origin for each row",
                where="labels",
            )
        x, labels = keep_largest(x, ROW_FEATURES).astype(np.float32), labels.tocsr().astype(np.float32)
        documents = l2_rows(product_keep_largest(labels.T.tocsr(), x, DOCUMENT_FEATURES).astype(np.float32))
        beside, counts = labels_beside(labels[origins >= 0])
        return cls(InvertedIndex.of_rows(x), labels, origins, InvertedIndex.of_rows(documents), beside, counts)

    @classmethod
    def without_rows(cls, labels: sp.csr_matrix) -> Self:
        """What is known of labels (N, L) CSR alone: no text is near."""
        beside, counts = labels_beside(labels)
        no_rows, no_words = (sp.csr_matrix(shape, dtype=np.float32) for shape in ((0, 0), (labels.shape[1], 0)))
        none = sp.csr_matrix((0, labels.shape[1]), dtype=np.float32)
        parts = InvertedIndex.of_rows(no_rows), none, np.zeros(0, np.int64), InvertedIndex.of_rows(no_words)
        return cls(*parts, beside, counts)

    @property
    def n_features(self) -> int:
        """The number of features of a row, V; 0 without rows."""
        return int(self.rows.n_columns)

    @cached_property
    def row_weights(self) -> np.ndarray:
        """The weights of the rows (R,) float32; 1 for rows without labels."""
        weights = np.ones(self.rows.n_rows, np.float32)
        labels = self.known.row_labels
        having = np.flatnonzero(np.diff(labels.indptr))
        weights[having] = np.maximum.reduceat(labels.data, labels.indptr[having]) if len(having) else 1
        return weights

    def with_rows(self, x: sp.csr_matrix, labels: sp.csr_matrix, origins: np.ndarray) -> Self:
        """The index of these rows and further ones, as if it had been built of all; arguments as for `build`."""
        old = self.rows.matrix().T.tocsr()
        both = sp.vstack([old, keep_largest(x, ROW_FEATURES)], format="csr").astype(np.float32)
        all_labels = sp.vstack([self.known.row_labels, labels], format="csr").astype(np.float32)
        return self.build(both, all_labels, np.concatenate([self.origins, origins]))

    def near(self, x: sp.csr_matrix, exclude: np.ndarray | None = None) -> tuple[Ranked, Ranked]:
        """The nearest rows and label documents of queries.

        Args:
            x: (n, V) CSR float32, the features of n texts.
            exclude: (n,) a row per text that is left out of the nearest, -1 for none. Label documents are not
                changed.

        Returns:
            Rows and labels with their similarities, (n, 50) and (n, 20); of no columns without rows.
        """
        if not self.rows.n_rows:
            none = Ranked(np.zeros((x.shape[0], 0), np.int64), np.zeros((x.shape[0], 0), np.float32))
            return none, none
        q = self._query(x)
        return Ranked(*self.rows.nearest(q, NEAREST, exclude)), Ranked(*self.documents.nearest(q, DOCUMENTS))

    def search(self, x: sp.csr_matrix, k: int) -> Ranked:
        """The k nearest rows of queries (n, V), and their similarities."""
        return Ranked(*self.rows.nearest(self._query(x), k))

    def _query(self, x: sp.csr_matrix) -> sp.csr_matrix:
        """The features by which rows (n, V) are searched."""
        rare = self._rare[x.indices]
        indptr = np.concatenate([[0], np.cumsum(rare)])[x.indptr]
        return keep_largest(sp.csr_matrix((x.data[rare], x.indices[rare], indptr), shape=x.shape), QUERY_FEATURES)

    def save(self, folder: str | Path) -> None:
        """Writes the arrays into a folder of its own, with a manifest."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        for name, index in (("rows", self.rows), ("documents", self.documents)):
            for kind, array in index.arrays.items():
                np.save(folder / f"{name}-{kind}.npy", array)
        for name, matrix in (("labels", self.known.row_labels), ("beside", self.known.beside)):
            for kind in MATRIX:
                np.save(folder / f"{name}-{kind}.npy", getattr(matrix, kind))
        np.save(folder / "origins.npy", self.origins)
        np.save(folder / "counts.npy", self.known.counts)
        sizes = {"rows": self.rows.n_rows, "labels": len(self.known.counts)}
        write_manifest(folder, FORMAT, {"what": "training rows and label documents", **sizes})

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """Reads what `save` wrote, memory-mapped; FormatError if the folder is damaged or something else."""
        folder = Path(folder)
        files = [f"{name}-{kind}.npy" for name in ("rows", "documents") for kind in INDEX]
        files += [f"{name}-{kind}.npy" for name in ("labels", "beside") for kind in MATRIX]
        files += ["origins.npy", "counts.npy"]
        manifest = read_manifest(
            folder,
            "index of training rows",
            FORMAT,
            facts=("rows", "labels"),
            files=files,
            next_step=RESTORE_FOLDER,
        )
        with reading(folder, wanted="an index of training rows", next_step=RESTORE_FOLDER):
            n_rows, n_labels = manifest["rows"], manifest["labels"]
            arrays = {file: np.load(folder / file, mmap_mode="r", allow_pickle=False) for file in files}
            rows, documents = (
                _inverted([arrays[f"{name}-{kind}.npy"] for kind in INDEX], n)
                for name, n in (("rows", n_rows), ("documents", n_labels))
            )
            labels, beside = (
                sp.csr_matrix(tuple(arrays[f"{name}-{kind}.npy"] for kind in MATRIX), shape=(n, n_labels))
                for name, n in (("labels", n_rows), ("beside", n_labels))
            )
            origins, counts = (np.array(arrays[f"{name}.npy"]) for name in ("origins", "counts"))
            return cls(rows, labels, origins, documents, beside, counts)


def _inverted(arrays: Sequence[np.ndarray], n_rows: int) -> InvertedIndex:
    indptr, rows, values = arrays
    return InvertedIndex(indptr, rows, values, n_rows)
