"""Rankings that agree with a taxonomy: ancestors score no less than their descendants, are added, or left out.

Let s'(a) be the largest score of a label a and of its descendants. The k labels with the largest s' are among the
k labels with the largest scores and the ancestors of these: where s' of a label comes from a descendant that is
not among the k best, all k best score at least as high. So the best k of a ranking with its ancestors added are
those of consistent scores over all labels, up to ties, and nothing has texts × labels entries.
"""

from __future__ import annotations

from typing import Literal, cast, get_args

import numpy as np

from megalabel.data.taxonomy import Taxonomy
from megalabel.errors import SettingError

Ancestors = Literal["raise", "add", "collapse"]
TEXTS = 1024  # rankings that are changed at once


def check_ancestors(way: object) -> Ancestors:
    """The way itself; SettingError for anything but "raise", "add" and "collapse"."""
    if way not in get_args(Ancestors):
        raise SettingError.choice("ancestors", way, get_args(Ancestors))
    return cast("Ancestors", way)


def with_ancestors(
    ids: np.ndarray, scores: np.ndarray, taxonomy: Taxonomy, way: Ancestors, left_out: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Rankings that agree with a taxonomy, best first; ties go to the lower label id.

    Args:
        ids, scores: (N, k) int64 and float32, best first; -1 and -inf for none.
        taxonomy: over the L labels.
        way: "raise": a label scores at least as high as its best descendant in the ranking; "add": its ancestors
            join the ranking with the score of their best descendant; "collapse": labels that have a descendant in
            the ranking are left out.
        left_out: (L,) bool, labels that are not added; None for none.

    Returns:
        ids and scores (N, K) as above; K is k, and more where ancestors are added.
    """
    parts = [
        _changed(ids[start : start + TEXTS], scores[start : start + TEXTS], taxonomy, way, left_out)
        for start in range(0, len(ids), TEXTS)
    ] or [(ids, scores)]
    width = max(part.shape[1] for part, _ in parts)
    wide = [((0, 0), (0, width - part.shape[1])) for part, _ in parts]
    return (
        np.concatenate(
            [np.pad(part, pad, constant_values=-1) for (part, _), pad in zip(parts, wide, strict=True)]
        ),
        np.concatenate(
            [np.pad(part, pad, constant_values=-np.inf) for (_, part), pad in zip(parts, wide, strict=True)]
        ),
    )


def _changed(
    ids: np.ndarray, scores: np.ndarray, taxonomy: Taxonomy, way: Ancestors, left_out: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray]:
    there, n = ids >= 0, len(taxonomy)
    rows, labels, values = np.nonzero(there)[0], ids[there], scores[there]
    above_rows, above, of_score = _above(rows, labels, values, taxonomy)
    own, others = rows * n + labels, above_rows * n + above
    if way == "collapse":
        keys, best = own, np.where(np.isin(own, others), -np.inf, values)
        keys, best = keys[best > -np.inf], best[best > -np.inf]
    else:
        kept = np.isin(others, own) if way == "raise" else np.ones(len(others), np.bool_)
        if left_out is not None and way == "add":
            kept &= ~left_out[above] | np.isin(others, own)
        keys, best = np.concatenate([own, others[kept]]), np.concatenate([values, of_score[kept]])
        order = np.lexsort((-best, keys))
        keys, best = keys[order], best[order]
        first = np.append(True, keys[1:] != keys[:-1]) if len(keys) else np.zeros(0, np.bool_)
        keys, best = keys[first], best[first]
    return _ranked(keys // n, keys % n, best, ids.shape)


def _above(
    rows: np.ndarray, labels: np.ndarray, values: np.ndarray, taxonomy: Taxonomy
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The ancestors of labels with the rows and the scores of these."""
    different, at = np.unique(labels, return_inverse=True)
    closure = taxonomy.ancestors(different)
    sizes = np.diff(closure.indptr)[at]
    before = np.cumsum(sizes) - sizes
    where = np.repeat(closure.indptr[:-1][at] - before, sizes) + np.arange(sizes.sum())
    return np.repeat(rows, sizes), closure.indices[where].astype(np.int64), np.repeat(values, sizes)


def _ranked(
    rows: np.ndarray, labels: np.ndarray, scores: np.ndarray, shape: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Rankings of pairs of a row and a label, at least as wide as `shape` (n, k)."""
    order = np.lexsort((labels, -scores, rows))
    rows, labels, scores = rows[order], labels[order], scores[order]
    sizes = np.bincount(rows, minlength=shape[0])
    columns = np.arange(len(rows)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    width = max(int(sizes.max(initial=0)), shape[1])
    ids = np.full((shape[0], width), -1, np.int64)
    best = np.full((shape[0], width), -np.inf, np.float32)
    ids[rows, columns], best[rows, columns] = labels, scores
    return ids, best
