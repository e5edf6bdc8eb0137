"""Parts of a data set: some rows of a split, and the training side without a source."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from megalabel.data.filters import filter_of
from megalabel.data.row_values import check_not_all_zero
from megalabel.data.row_weights import source_counts
from megalabel.data.types import CorpusData, Split, Unseen
from megalabel.errors import DataError

_NAMED = 10  # sources that an error lists


def rows_of(split: Split, rows: np.ndarray) -> Split:
    """The split of some rows (n,) int64, in ascending order, with the same labels."""
    unseen = split.unseen
    if unseen is not None:
        inside = np.isin(unseen.rows, rows)
        unseen = Unseen(np.searchsorted(rows, unseen.rows[inside]), unseen.names[np.flatnonzero(inside)])
    return Split(
        split.texts[rows],
        split.labels[rows],
        filter_of(split, rows),
        None if split.features is None else split.features[rows],
        unseen if unseen is not None and len(unseen) else None,
        None if split.weights is None else split.weights[rows],
        None if split.sources is None else split.sources[rows],
    )


def without_source(data: CorpusData, name: str) -> CorpusData:
    """The data set without the training texts of a source; the labels and the test side stay as they are.

    Raises:
        DataError: no training text is of this source, or none of another one has a label.
    """
    train = data.train
    found = source_counts(train)
    if name not in [source for source, _ in found]:
        known = ", ".join(repr(source) for source, _ in found[:_NAMED])
        raise DataError(
            f"no training text of the source {name!r}" + (f" among those of {known}" if known else ""),
            wanted="the name of a source",
            next_step="choose one of them, or name the field of the sources: source_field (--source-field)"
            if known
            else "name the field of the sources: source_field (--source-field)",
            where=data.path,
        )
    sources = train.sources if train.sources is not None else ()
    rows = np.flatnonzero([source != name for source in sources])
    rest = rows_of(train, rows)
    if rest.labels.nnz == 0:
        raise DataError(
            f"no training text of another source than {name!r} has a label",
            wanted="texts with labels",
            next_step="leave out another source",
            where=data.path,
        )
    if rest.weights is not None:
        check_not_all_zero(rest.weights, data.path or data.name)
    return replace(data, train=rest)
