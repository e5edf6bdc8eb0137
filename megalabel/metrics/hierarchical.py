"""Hierarchical precision, recall and F1: hits among labels and all labels above them in a taxonomy.

    hP@k  = Σ |P ∩ T| / Σ |P|          P: the k best labels of a text and their ancestors
    hR@k  = Σ |P ∩ T| / Σ |T|          T: its true labels and their ancestors
    hF1@k = 2 hP hR / (hP + hR)

Sums are over all texts; the root of the taxonomy, if there is one, belongs to no set (Kiritchenko, Matwin, Nock
and Famili, "Learning and evaluation in the presence of class hierarchies", Canadian AI 2006). A label without
parents stands for itself alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.sparse.hits import as_truth
from megalabel.metrics.topk import checked_arrays
from megalabel.types import TopK

TEXTS = 4096  # whose sets are in memory at once
Above = Callable[[np.ndarray], sp.csr_matrix]


def measure_hierarchical(
    top: TopK,
    truth: sp.csr_matrix,
    ancestors: Above,
    *,
    k: Iterable[int],
    root: int | None = None,
    n_true: np.ndarray | None = None,
) -> dict[str, float]:
    """Hierarchical metrics in percent: {"hP@1": …, "hR@1": …, "hF1@1": …, …}.

    Args:
        top: the predictions, (N, K) ids, -1 for none, and scores, best first.
        truth: (N, L) sparse; a stored value above 0 marks a true label.
        ancestors: from labels (n,) to those above them, (n, L) CSR of ones; see `data.taxonomy`.
        k: depths, each from 1 to K.
        root: the label that is in no set; None for none.
        n_true: (N,) true labels of each text, of which those without a column count as labels that are not found;
            default: those of `truth`.

    Raises:
        DataError: the ranking or the truth is damaged.
    """
    labels, _ = checked_arrays(top)
    truth, depths = as_truth(truth), sorted(set(k))
    closure = _closure(np.append(labels[labels >= 0], truth.indices), ancestors, truth.shape[1], root)
    unknown = 0 if n_true is None else int(n_true.sum()) - truth.nnz
    sums = np.zeros((len(depths), 2), np.int64)
    n_true_sets = unknown
    for start in range(0, len(labels), TEXTS):
        rows = slice(start, start + TEXTS)
        true = _sets(truth[rows].indptr, truth[rows].indices, closure)
        n_true_sets += true.nnz
        for at, depth in enumerate(depths):
            best = labels[rows, :depth]
            there = best >= 0
            starts = np.append(0, np.cumsum(there.sum(axis=1)))
            predicted = _sets(starts, best[there], closure)
            sums[at] += predicted.nnz, predicted.multiply(true).nnz
    values: dict[str, float] = {}
    for depth, (n_predicted, hits) in zip(depths, sums.tolist(), strict=True):
        p, r = hits / max(n_predicted, 1), hits / max(n_true_sets, 1)
        values |= {f"hP@{depth}": 100 * p, f"hR@{depth}": 100 * r}
        values[f"hF1@{depth}"] = 100 * 2 * p * r / max(p + r, np.finfo(float).tiny)
    names = [f"{name}@{depth}" for name in ("hP", "hR", "hF1") for depth in depths]
    return {name: values[name] for name in names}


def _closure(labels: np.ndarray, ancestors: Above, n_labels: int, root: int | None) -> sp.csr_matrix:
    """The sets of some labels, each with its ancestors and without the root: (L, L) CSR of ones."""
    different = np.flatnonzero(np.bincount(labels, minlength=n_labels))
    above = ancestors(different).tocoo()
    rows = np.concatenate([different, different[above.row]])
    columns = np.concatenate([different, above.col])
    kept = columns != (-1 if root is None else root)
    ones = np.ones(int(kept.sum()), np.int32)
    return sp.csr_matrix((ones, (rows[kept], columns[kept])), shape=(n_labels, n_labels))


def _sets(starts: np.ndarray, labels: np.ndarray, closure: sp.csr_matrix) -> sp.csr_matrix:
    """The union of the sets of the labels of each text: (n, L) CSR of ones."""
    shape = len(starts) - 1, closure.shape[0]
    found = sp.csr_matrix((np.ones(len(labels), np.int32), labels, starts), shape=shape) @ closure
    found.data[:] = 1
    return found
