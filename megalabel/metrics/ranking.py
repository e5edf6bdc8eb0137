"""Ranking metrics of extreme classification, from the best k labels of each text and its true labels.

The conventions are the same for all metrics: every text counts, and a text without true labels scores 0; a rank
without a prediction is a miss; a label that is repeated in a row counts at its first rank only.
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
    """Computes ranking metrics of predictions in percent, not rounded: {"P@1": 58.1, ...}.

    Let y be the true labels of a text, n their number, and r_j the label at rank j (from 1). A mean is over all N
    texts.

    * P@k = mean of (hits in the top k) / k, which is divided by k for every n.
    * R@k = mean of (hits in the top k) / max(n, 1).
    * nDCG@k = mean of  sum_j y[r_j] / log2(j + 1)  over  sum_{j <= min(k, n)} 1 / log2(j + 1).
    * PSP@k = the mean of  1/k sum_j y[r_j] / p[r_j]  divided by the mean that the best possible ranking
      reaches: a ratio of two means, not a mean of ratios (Jain, Prabhu and Varma, KDD 2016, as the
      Extreme Classification Repository computes it).
    * PSnDCG@k = the same ratio for the sums of nDCG with y[r_j] / p[r_j] in place of y[r_j].
    * coverage@k = the fraction of the labels with at least one true text that are predicted correctly at
      least once within the top k.
    * macro-F1@k = the mean of 2 tp / (predicted + true) over the labels with at least one true text.
      A label without true texts cannot be predicted correctly and is left out; predicting it still
      displaces other labels. (napkinXC divides the same sum by the highest label id + 1.)

    Args:
        top: the predictions, (N, K) label ids (-1 for none) and (N, K) scores in descending order, as tensors or
            arrays. Filter pairs must have been removed already (see `apply_filter`).
        truth: (N, L) sparse matrix; a stored value above 0 marks a true label.
        k: one or more depths, each from 1 to K.
        inverse_propensity: (L,) 1/p, from `megalabel.metrics.propensity`; PSP and PSnDCG need it.
        n_true: (N,) the number of true labels of each text where some have no column in `truth` (labels that
            training lacks); R and nDCG count them as labels that are not found. Default: the counts of `truth`.
        which: some of "P", "R", "nDCG", "PSP", "PSnDCG", "coverage" and "macro-F1". Default: all that can be
            computed.

    Raises:
        SettingError: k is out of range, a metric is unknown, or PSP is requested without propensities.
        DataError: shapes do not fit, label ids are outside [-1, L), scores are NaN or not sorted, there are no
            texts or no true labels, or propensities are not finite and above 0.
    """
    labels, _ = checked_arrays(top)
    truth = as_truth(truth)
    depths = _depths(k, labels.shape[1])
    families = _families(which, inverse_propensity is not None)
    _check_ids(labels, truth)
    gains = None if inverse_propensity is None else _gains(inverse_propensity, truth.shape[1])

    labels = labels[:, : max(depths)]
    hit = np.ascontiguousarray(hits(labels, truth).T)  # (k, N): every sum below is over one rank
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
            next_step="use Split.n_true() of the split that is measured",
            where="n_true",
        )
    return np.asarray(n_true)


def _discounts(k: int) -> np.ndarray:
    """1 / log2(j + 1) for the ranks j = 1 ... k: (k,)."""
    return np.asarray(1.0 / np.log2(np.arange(2, k + 2)))


def _ideal_dcg(counts: np.ndarray, k: int) -> np.ndarray:
    """The best possible DCG@k of each text, (N,); 1 for texts without labels."""
    ideal = np.concatenate([[1.0], np.cumsum(_discounts(k))])
    return np.asarray(ideal[np.minimum(counts, k)])


def _unweighted(hit: np.ndarray, counts: np.ndarray, depths: list[int]) -> Iterator[tuple[str, float]]:
    n = hit.shape[1]
    hits_so_far = np.zeros(n)
    dcg = np.zeros(n)
    divisor = np.maximum(counts, 1)
    for j, discount in enumerate(_discounts(max(depths)), start=1):
        hits_so_far += hit[j - 1]
        dcg += hit[j - 1] * discount
        if j in depths:
            yield f"P@{j}", float(hits_so_far.sum()) / (n * j)
            yield f"R@{j}", float((hits_so_far / divisor).mean())
            yield f"nDCG@{j}", float((dcg / _ideal_dcg(counts, j)).mean())


def _weighted(
    hit: np.ndarray, labels: np.ndarray, truth: sp.csr_matrix, gains: np.ndarray, depths: list[int]
) -> Iterator[tuple[str, float]]:
    n = hit.shape[1]
    counts = np.diff(truth.indptr)
    best = np.ascontiguousarray(best_gains(truth, gains, max(depths)).T)
    gain_sum = best_sum = 0.0
    dcg, best_dcg = np.zeros(n), np.zeros(n)
    for j, discount in enumerate(_discounts(max(depths)), start=1):
        rows = np.flatnonzero(hit[j - 1])
        gain = gains[labels[rows, j - 1]]
        gain_sum += float(gain.sum())
        best_sum += float(best[j - 1].sum())
        dcg[rows] += gain * discount
        best_dcg += best[j - 1] * discount
        if j in depths:
            ideal = _ideal_dcg(counts, j)
            yield f"PSP@{j}", gain_sum / best_sum
            yield f"PSnDCG@{j}", float((dcg / ideal).sum()) / float((best_dcg / ideal).sum())


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
                f"k={k!r} for predictions of {width} labels per text",
                wanted=f"one or more whole numbers from 1 to {width}",
                next_step="predict more labels per text, or measure at a smaller k",
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
            next_step='write metrics without their depth: "P", not "P@1"',
            where="which",
        )
    if not weighted and not families.isdisjoint(WEIGHTED):
        raise SettingError(
            "PSP or PSnDCG without propensities",
            wanted="inverse_propensity, one number per label",
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
            next_step="predict for the split that is measured",
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
            where="top.ids",
        )


def _gains(inverse_propensity: np.ndarray, n_labels: int) -> np.ndarray:
    gains = np.asarray(inverse_propensity)
    if gains.shape != (n_labels,) or gains.dtype.kind not in "iuf":
        raise DataError(
            f"propensities of shape {gains.shape} and dtype {gains.dtype} for {n_labels} labels",
            wanted="one number per label",
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
