"""Merges rankings of the same texts.

`merge_topk` ranks by the weighted sum of scores per label, where a missing label has score 0. `best_of` takes the
best of rankings without common labels, such as those of chunks or shards of the labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from megalabel.errors import SettingError
from megalabel.types import TopK

if TYPE_CHECKING:
    from torch import Tensor


def best_of(labels: Tensor, scores: Tensor, k: int) -> TopK:
    """The k best of n distinct labels per text, given in any order; fewer if n is below k.

    Args:
        labels: (B, n) int64, such as the concatenated rankings of several parts of the labels; -1 for no label.
        scores: (B, n), -inf for label -1.
        k: labels per text.

    Returns:
        Labels and scores (B, min(k, n)), best first, ties to the lower label.
    """
    labels, order = labels.sort(dim=1)  # by label and then, stably, by score: ties go to the lower label
    scores, order = scores.gather(1, order).sort(dim=1, descending=True, stable=True)
    return TopK(labels.gather(1, order[:, :k]), scores[:, :k])


def merge_topk(found: Sequence[TopK], k: int, weights: Sequence[float] | None = None) -> TopK:
    """The k labels with the largest weighted sums of scores; ties to the lower label.

    Args:
        found: rankings of the same N texts, (N, k_i) each; -1 for no label.
        k: labels per text.
        weights: one finite number per ranking; by default equal weights that sum to 1.

    Returns:
        Labels (N, k) int64 and scores (N, k) float32, numpy arrays, best first; -1 and -inf where there are fewer.

    Raises:
        SettingError: no rankings, rankings of different numbers of texts, invalid weights, or k below 1.
    """
    tables = [top.numpy() for top in found]
    shares = [1 / max(len(tables), 1)] * len(tables) if weights is None else [float(w) for w in weights]
    sizes = {len(labels) for labels, _ in tables}
    if len(sizes) != 1 or len(shares) != len(tables) or not np.isfinite(shares).all() or k < 1:
        raise SettingError(
            f"{len(tables)} rankings of {' and '.join(map(str, sorted(sizes))) or 'no'} texts, k = {k}, "
            f"weights {shares}",
            wanted="at least one ranking, all of the same texts, a finite weight for each, and k of at least 1",
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
