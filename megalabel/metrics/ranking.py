"""The metrics of extreme classification, from the best k labels of each text and its true labels.

Conventions, the same for every metric: every text counts, also one without true labels (it scores 0);
a place without a prediction is a miss; a label repeated in a row counts at its first place only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.kernels.sparse.hits import as_truth, best_gains, hits
from megalabel.metrics.topk import checked_arrays
from megalabel.types import TopK

UNWEIGHTED = ("P", "R", "nDCG")
WEIGHTED = ("PSP", "PSnDCG")
PER_LABEL = ("coverage", "macro-F1")
FAMILIES = (*UNWEIGHTED, *WEIGHTED, *PER_LABEL)


def measure(
    top: TopK,
    truth: sp.csr_matrix,
    *,
    k: int | Iterable[int] = (1, 3, 5),
    inverse_propensity: np.ndarray | None = None,
    which: Iterable[str] | None = None,
    n_true: np.ndarray | None = None,
) -> dict[str, float]:
    """All ranking metrics of one set of predictions, in percent, not rounded: {"P@1": 58.1, ...}.

    With y the labels of a text, n their number, r_j the label at place j (from 1), N texts:

    * P@k = mean of (hits in the top k) / k. Always divided by k, whatever n is.
    * R@k = mean of (hits in the top k) / max(n, 1).
    * nDCG@k = mean of  sum_j y[r_j] / log2(j + 1)  over  sum_{j <= min(k, n)} 1 / log2(j + 1).
    * PSP@k = the mean of  1/k sum_j y[r_j] / p[r_j]  divided by the mean that the best possible ranking
      reaches: a ratio of two means, not a mean of ratios (Jain, Prabhu and Varma, KDD 2016, as the
      Extreme Classification Repository reports it).
    * PSnDCG@k = the same ratio for nDCG's sum with y[r_j] / p[r_j] in place of y[r_j].
    * coverage@k = the share of the labels with at least one true text that are predicted rightly at least
      once within a top k.
    * macro-F1@k = the mean of 2 tp / (predicted + true) over the labels with at least one true text.
      A label that no text here has cannot be got right and is left out; predicting it still costs the
      labels whose places it took. (napkinXC divides the same sum by the highest label id + 1.)

    Args:
        top: labels (N, K) integers, -1 where there is none; scores (N, K), falling. Tensors or arrays.
            Filter pairs must have been removed already (`apply_filter`).
        truth: (N, L) sparse matrix; a stored value above 0 is a true label.
        k: at which depths, each from 1 to K.
        inverse_propensity: (L,) 1/p, from `megalabel.metrics.propensity`. Without it there is no PSP and
            no PSnDCG.
        n_true: (N,) true labels of each text where some have no column in `truth` (labels that training never
            saw); they count in R and nDCG as labels that cannot be found. The columns' own count if None.
        which: a choice of "P", "R", "nDCG", "PSP", "PSnDCG", "coverage", "macro-F1". Everything that can
            be computed if None.

    Raises:
        SettingError: k out of range, an unknown metric, PSP asked for without propensities.
        DataError: shapes that do not fit, label ids outside [-1, L), NaN or unsorted scores, no text or no
            true label at all, propensities that are not finite and above 0.
    """
    labels, _ = checked_arrays(top)
    truth = as_truth(truth)
    depths = _depths(k, labels.shape[1])
    families = _families(which, inverse_propensity is not None)
    _check_ids(labels, truth)
    gains = None if inverse_propensity is None else _gains(inverse_propensity, truth.shape[1])

    labels = labels[:, : max(depths)]
    hit = np.ascontiguousarray(hits(labels, truth).T)  # (k, N): every sum below runs down one place
    counts = _counts(truth, n_true)
    values: dict[str, float] = {}
    values.update(_unweighted(hit, counts, depths))
    if gains is not None and not families.isdisjoint(WEIGHTED):
        values.update(_weighted(hit, labels, truth, gains, depths))
    if not families.isdisjoint(PER_LABEL):
        values.update(_per_label(hit, labels, truth, depths))
    return {f"{name}@{d}": 100.0 * values[f"{name}@{d}"] for name in FAMILIES if name in families for d in depths}


def _counts(truth: sp.csr_matrix, n_true: np.ndarray | None) -> np.ndarray:
    known = np.diff(truth.indptr)
    if n_true is None:
        return np.asarray(known)
    if n_true.shape != known.shape or (n_true < known).any():
        raise DataError(
            f"true labels counted for {n_true.shape} texts, or fewer than the {truth.nnz} in the truth",
            wanted=f"one count for each of {len(known)} texts, at least what the truth holds",
            next_step="take Split.n_true() of the split that you measure",
            where="n_true",
        )
    return np.asarray(n_true)


def _discounts(k: int) -> np.ndarray:
    """1 / log2(j + 1) for the places j = 1 ... k: (k,)."""
    return np.asarray(1.0 / np.log2(np.arange(2, k + 2)))


def _ideal_dcg(counts: np.ndarray, k: int) -> np.ndarray:
    """What each text's DCG@k would be if everything were right; 1 for texts without labels, (N,)."""
    ideal = np.concatenate([[1.0], np.cumsum(_discounts(k))])
    return np.asarray(ideal[np.minimum(counts, k)])


def _unweighted(hit: np.ndarray, counts: np.ndarray, depths: list[int]) -> Iterator[tuple[str, float]]:
    n = hit.shape[1]
    found = np.zeros(n)
    dcg = np.zeros(n)
    divisor = np.maximum(counts, 1)
    for j, discount in enumerate(_discounts(max(depths)), start=1):
        found += hit[j - 1]
        dcg += hit[j - 1] * discount
        if j in depths:
            yield f"P@{j}", float(found.sum()) / (n * j)
            yield f"R@{j}", float((found / divisor).mean())
            yield f"nDCG@{j}", float((dcg / _ideal_dcg(counts, j)).mean())


def _weighted(
    hit: np.ndarray, labels: np.ndarray, truth: sp.csr_matrix, gains: np.ndarray, depths: list[int]
) -> Iterator[tuple[str, float]]:
    n = hit.shape[1]
    counts = np.diff(truth.indptr)
    best = np.ascontiguousarray(best_gains(truth, gains, max(depths)).T)
    got_sum = best_sum = 0.0
    got_dcg, best_dcg = np.zeros(n), np.zeros(n)
    for j, discount in enumerate(_discounts(max(depths)), start=1):
        rows = np.flatnonzero(hit[j - 1])
        got = gains[labels[rows, j - 1]]
        got_sum += float(got.sum())
        best_sum += float(best[j - 1].sum())
        got_dcg[rows] += got * discount
        best_dcg += best[j - 1] * discount
        if j in depths:
            ideal = _ideal_dcg(counts, j)
            yield f"PSP@{j}", got_sum / best_sum
            yield f"PSnDCG@{j}", float((got_dcg / ideal).sum()) / float((best_dcg / ideal).sum())


def _per_label(
    hit: np.ndarray, labels: np.ndarray, truth: sp.csr_matrix, depths: list[int]
) -> Iterator[tuple[str, float]]:
    n_labels = truth.shape[1]
    true = np.bincount(truth.indices, minlength=n_labels)
    known = true > 0
    right = np.zeros(n_labels, dtype=np.int64)
    predicted = np.zeros(n_labels, dtype=np.int64)
    for j in range(1, max(depths) + 1):
        column = labels[:, j - 1]
        right += np.bincount(column[hit[j - 1]], minlength=n_labels)
        predicted += np.bincount(column[column >= 0], minlength=n_labels)
        if j in depths:
            yield f"coverage@{j}", float((right[known] > 0).mean())
            yield f"macro-F1@{j}", float((2.0 * right[known] / (predicted[known] + true[known])).mean())


def _depths(k: int | Iterable[int], width: int) -> list[int]:
    depths = list(k) if isinstance(k, Iterable) and not isinstance(k, str) else [k]
    for depth in depths or [0]:
        if isinstance(depth, bool) or not isinstance(depth, (int, np.integer)) or not 1 <= depth <= width:
            raise SettingError(
                f"k={k!r} for predictions that hold {width} labels a text",
                wanted=f"one or more whole numbers from 1 to {width}",
                next_step="predict more labels a text, or measure at a smaller k",
                where="k",
            )
    return sorted({int(depth) for depth in depths})


def _families(which: Iterable[str] | None, weighted: bool) -> set[str]:
    if which is None:
        return set(FAMILIES) - (set() if weighted else set(WEIGHTED))
    families = {which} if isinstance(which, str) else set(which)
    if not families or families - set(FAMILIES):
        raise SettingError(
            f"which={sorted(families)}",
            wanted="some of " + ", ".join(FAMILIES),
            next_step='name metrics without their depth: "P", not "P@1"',
            where="which",
        )
    if not weighted and not families.isdisjoint(WEIGHTED):
        raise SettingError(
            "PSP or PSnDCG without propensities",
            wanted="inverse_propensity, one number a label",
            next_step="compute it from the training labels with metrics.propensity.inverse_propensity",
            where="which",
        )
    return families


def _check_ids(labels: np.ndarray, truth: sp.csr_matrix) -> None:
    n, n_labels = truth.shape
    if labels.shape[0] != n:
        raise DataError(
            f"predictions for {labels.shape[0]} texts",
            wanted=f"{n}, one row for each row of the truth",
            next_step="predict for the very split that you measure",
            where="top",
        )
    if n == 0 or truth.nnz == 0:
        raise DataError(
            f"{n} texts with {truth.nnz} true labels",
            wanted="at least one of each",
            next_step="measure on a split that has labels",
            where="truth",
        )
    if int(labels.max()) >= n_labels:
        row = int(np.flatnonzero((labels >= n_labels).any(axis=1))[0])
        raise DataError(
            f"row {row} predicts label {int(labels[row].max())}, but there are {n_labels} labels",
            wanted=f"ids from 0 to {n_labels - 1}, or -1 for none",
            next_step="check that predictions and truth use the same label list, counted from 0",
            where="top.labels",
        )


def _gains(inverse_propensity: np.ndarray, n_labels: int) -> np.ndarray:
    gains = np.asarray(inverse_propensity)
    if gains.shape != (n_labels,) or gains.dtype.kind not in "iuf":
        raise DataError(
            f"propensities of shape {gains.shape} and dtype {gains.dtype} for {n_labels} labels",
            wanted="one number a label",
            next_step="compute them from the training labels of the same data set",
            where="inverse_propensity",
        )
    gains = gains.astype(np.float64)
    if not (np.isfinite(gains) & (gains > 0)).all():
        raise DataError(
            "an inverse propensity that is not a finite number above 0",
            wanted="1/p, which is above 1",
            next_step="compute them with metrics.propensity.inverse_propensity",
            where="inverse_propensity",
        )
    return gains
