"""Several rankings of the same texts as one.

`merge_topk`: the weighted sum of scores per label, 0 where a ranking lacks it. `best_of`: the best of rankings
that have no label in common, such as those of chunks or shards of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.types import TopK


def best_of(labels: Tensor, scores: Tensor, k: int) -> TopK:
    """The k best of n labels of each text, in any order, none of them twice; fewer if there are fewer.

    Args:
        labels: (B, n) int64, such as the rankings of several parts of the labels side by side; -1 is nothing.
        scores: (B, n), -inf for label -1.
        k: labels of each text.

    Returns:
        Labels and scores (B, min(k, n)), best first, ties to the lower label.
    """
    labels, order = labels.sort(dim=1)  # by label and then, stably, by score: ties go to the lower label
    scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    return TopK(labels.gather(1, order[:, :k]), scores[:, :k])


def merge_topk(found: Sequence[TopK], k: int, weights: Sequence[float] | None = None) -> TopK:
    """The k labels of the largest weighted sum: ties to the lower label, -1 with -inf where there are fewer.

    Args:
        found: rankings of the same N texts, (N, k_i) each; what is -1 is nothing.
        k: labels of each text.
        weights: one for each ranking, finite; default: the same for all, 1 together.

    Returns:
        Labels (N, k) int64 and scores (N, k) float32, numpy arrays, best first.

    Raises:
        SettingError: no ranking, rankings of other texts, weights that do not fit them, k below 1.
    """
    tables = [top.numpy() for top in found]
    shares = [1 / max(len(tables), 1)] * len(tables) if weights is None else [float(w) for w in weights]
    sizes = {len(labels) for labels, _ in tables}
    if len(sizes) != 1 or len(shares) != len(tables) or not np.isfinite(shares).all() or k < 1:
        raise SettingError(
            f"{len(tables)} rankings of {' and '.join(map(str, sorted(sizes))) or 'no'} texts, k = {k}, "
            f"weights {shares}",
            wanted="one ranking or more of the same texts, a finite weight for each, k of 1 or more",
            next_step="rank the same texts with every model",
        )
    n = sizes.pop()
    labels = np.concatenate([labels for labels, _ in tables], axis=1).astype(np.int64)
    parts = [
        share * np.where(ids < 0, 0, values.astype(float))
        for share, (ids, values) in zip(shares, tables, strict=True)
    ]
    scores = np.concatenate(parts, axis=1)
    rows = np.arange(n)[:, None]
    order = rows, np.argsort(labels, axis=1, kind="stable")
    labels, scores = labels[order], scores[order]
    first = np.ones(labels.shape, dtype=bool)
    first[:, 1:] = labels[:, 1:] != labels[:, :-1]
    sums = np.add.reduceat(scores.ravel(), np.flatnonzero(first.ravel())) if scores.size else np.zeros(0)
    totals = np.full(labels.shape, -np.inf)
    totals[first] = sums
    totals[labels < 0] = -np.inf
    best = rows, np.argsort(-totals, axis=1, kind="stable")[:, :k]
    merged = np.full((n, k), -1, dtype=np.int64), np.full((n, k), -np.inf, dtype=np.float32)
    width = best[1].shape[1]
    merged[1][:, :width] = totals[best]
    merged[0][:, :width] = np.where(np.isfinite(merged[1][:, :width]), labels[best], -1)
    return TopK(*merged)
