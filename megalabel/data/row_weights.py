"""The weights of texts in training, and what a report says about weights and sources."""

from __future__ import annotations

from collections import Counter

import numpy as np

from megalabel.data.types import Split
from megalabel.errors import DataError

SHOWN = 20  # sources that a report lists


def with_weight(split: Split, rows: np.ndarray) -> np.ndarray:
    """The rows (n,) of a split whose weight is above 0; all rows where there are no weights.

    Raises:
        DataError: rows with weights, of which none is above 0.
    """
    if split.weights is None:
        return rows
    kept: np.ndarray = rows[split.weights[rows] > 0]
    if len(rows) and not len(kept):
        raise DataError(
            f"the weights of all {len(rows):,} texts that are not held out are 0",
            wanted="at least one above 0",
            next_step="hold out a smaller fraction (--validation-fraction), or raise weights",
        )
    return kept


def normalized_weights(split: Split, rows: np.ndarray, n_more: int = 0) -> np.ndarray | None:
    """The weights of training rows, divided by their mean: (n + n_more,) float32; None without weights.

    With a mean of 1 a learning rate or a C means the same with and without weights.

    Args:
        split: the training split.
        rows: (n,) the rows that are trained on; see `with_weight`.
        n_more: the number of rows of the weight 1 that follow, those of label texts.
    """
    if split.weights is None:
        return None
    own = split.weights[rows]
    scaled = own / own.max() if len(own) else own  # first, so that huge weights do not overflow in the mean
    scaled = scaled / scaled.mean() if len(own) else own
    return np.concatenate([scaled, np.ones(n_more)]).astype(np.float32)


def source_counts(split: Split) -> list[tuple[str, int]]:
    """The sources of a split and how many texts each has, the largest first; none without sources."""
    return [] if split.sources is None else Counter(split.sources).most_common()


def value_counts(split: Split) -> dict[str, float]:
    """What a report says about the weights and sources of a split, by name."""
    counts: dict[str, float] = {}
    if split.weights is not None:
        counts["weight, least"] = float(split.weights.min())
        counts["weight, mean"] = float(split.weights.mean())
        counts["weight, most"] = float(split.weights.max())
        counts["weights of 0, percent"] = 100 * float((split.weights == 0).mean())
    found = source_counts(split)
    if found:
        counts["sources"] = len(found)
    for name, count in found[:SHOWN]:
        counts[f"texts from {name or '(no source)'}"] = count
    return counts
