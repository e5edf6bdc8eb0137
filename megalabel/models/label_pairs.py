"""How many training texts have two labels: what a model keeps of it, for texts of which some labels are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import scipy.sparse as sp

from megalabel.errors import RESTORE_FOLDER, DataError
from megalabel.kernels.sparse.csr import checked_csr
from megalabel.kernels.sparse.sparse_rows import keep_largest, product_keep_largest
from megalabel.storage.reading import reading

FILE = "label_pairs.npz"
KEPT = 20  # labels per label, those that occur with it most often
STRENGTH = 2.0  # of given labels in a model for which it was not chosen


def count_pairs(labels: sp.csr_matrix) -> sp.csr_matrix:
    """The number of texts with two labels, of the 20 labels that occur most often with each.

    Args:
        labels: (N, L) CSR, above 0 where a text has a label.

    Returns:
        (L, L) CSR float32 with sorted rows and an empty diagonal.
    """
    has = sp.csr_matrix(((labels.data > 0).astype(np.float32), labels.indices, labels.indptr), shape=labels.shape)
    has.eliminate_zeros()
    both = product_keep_largest(has.T.tocsr(), has, KEPT + 1).tocoo()
    other = both.row != both.col
    found = sp.csr_matrix((both.data[other], (both.row[other], both.col[other])), shape=both.shape)
    found = keep_largest(found.astype(np.float32), KEPT)
    found.sort_indices()
    return found


def added_pairs(pairs: sp.csr_matrix, labels: sp.csr_matrix) -> sp.csr_matrix:
    """Counts as those of `count_pairs`, and those of further texts (N, L)."""
    found = keep_largest((pairs + count_pairs(labels)).tocsr().astype(np.float32), KEPT)
    found.sort_indices()
    return found


def save_pairs(folder: Path, pairs: sp.csr_matrix | None) -> None:
    """Writes the counts into the folder of a model; nothing where they are not known."""
    if pairs is not None:
        counts = np.minimum(pairs.data, np.iinfo(np.uint16).max).astype(np.uint16)
        with open(folder / FILE, "wb") as file:
            np.savez(
                file, counts=counts, labels=pairs.indices.astype(np.int32), indptr=pairs.indptr.astype(np.int64)
            )


def load_pairs(folder: Path, n_labels: int) -> sp.csr_matrix | None:
    """What `save_pairs` wrote; None where nothing was written.

    Raises:
        FormatError: the file is damaged or of other labels.
    """
    if not (folder / FILE).is_file():
        return None
    with (
        reading(folder, wanted="the counts of pairs of labels", next_step=RESTORE_FOLDER),
        np.load(folder / FILE, allow_pickle=False) as found,
    ):
        arrays = found["counts"].astype(np.float32), found["labels"], found["indptr"]
        return checked_csr(sp.csr_matrix(arrays, shape=(n_labels, n_labels)), "pairs")


def relabeled_pairs(pairs: sp.csr_matrix, target: np.ndarray, n_labels: int) -> sp.csr_matrix:
    """The counts of labels with other ids: target (L,) is the new id of each, −1 for none; equal ones add up."""
    if np.array_equal(target, np.arange(len(target))):  # only further labels: nothing has to be sorted
        indptr = np.append(pairs.indptr, np.full(n_labels - len(target), pairs.indptr[-1]))
        return sp.csr_matrix((pairs.data, pairs.indices, indptr), shape=(n_labels, n_labels))
    both = pairs.tocoo()
    rows, columns = target[both.row], target[both.col]
    kept = (rows >= 0) & (columns >= 0) & (rows != columns)
    found = sp.csr_matrix((both.data[kept], (rows[kept], columns[kept])), shape=(n_labels, n_labels))
    found.sum_duplicates()
    found.sort_indices()
    return found


def check_labels(labels: object, n_labels: int) -> sp.csr_matrix:
    """The labels of texts (N, L) as CSR; DataError for anything else."""
    if not sp.issparse(labels) or labels.shape[1] != n_labels:  # type: ignore[attr-defined]
        shape = getattr(labels, "shape", type(labels).__name__)
        raise DataError(f"labels {shape}", wanted=f"a scipy sparse matrix (N, {n_labels})", where="labels")
    return labels.tocsr()  # type: ignore[attr-defined]
