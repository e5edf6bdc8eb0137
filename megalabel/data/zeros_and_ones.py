"""Rows of zeros and ones, one per label (multi-hot), in place of lists of label ids."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from megalabel.data.findings import Findings
from megalabel.errors import DataError, line_of

if TYPE_CHECKING:
    from megalabel.data.label_rows import LabelRows


def as_integers(labels: Sequence[object]) -> Sequence[object]:
    """The same labels, with 0.0, 1.0, False and True as integers if all are such; label ids never are."""
    if labels and type(labels[0]) in (bool, float) and all(type(v) in (bool, float) for v in labels):
        if all(v == 0 or v == 1 for v in labels):
            return [int(v) for v in labels]  # type: ignore[call-overload]
    return labels


def are_flags(labels: Sequence[object]) -> bool:
    """Whether a row can only be zeros and ones, since its values are of a type that ids do not have."""
    return bool(labels) and type(labels[0]) in (bool, float)


def width_of(rows: LabelRows) -> int | None:
    """The number of values of each row if the rows can only be zeros and ones, else None.

    They are so if all have the same length, hold only 0 and 1 and not only 0, and some row repeats one of them or,
    where there are two values in each, both orders occur: as ids, every text would have the same two labels.
    """
    table = _table(rows)
    if table is None or not table.any():
        return None
    steps = np.diff(table, axis=1)
    both = table.shape[1] == 2 and (steps < 0).any() and (steps > 0).any()
    return table.shape[1] if both or _repeats(table) else None


def _table(rows: LabelRows) -> np.ndarray | None:
    """The ids (N, n) if every row has n of at least 2 and all are 0 or 1."""
    counts = np.unique(rows.counts)
    if len(counts) != 1 or counts[0] < 2 or int(rows.ids.max()) > 1 or int(rows.ids.min()) < 0:
        return None
    return rows.ids.reshape(-1, int(counts[0]))


def _repeats(table: np.ndarray) -> bool:
    return table.shape[1] > 2 or bool((table[:, 0] == table[:, 1]).any())


def columns_of(rows: LabelRows, width: int) -> LabelRows:
    """The rows with the positions of their ones as ids.

    Raises:
        DataError: a row is not `width` zeros and ones.
    """
    wrong = np.flatnonzero(rows.counts != width)
    if len(wrong) or (len(rows.ids) and int(rows.ids.max()) > 1):
        line = int(rows.lines[wrong[0]] if len(wrong) else rows.lines[rows.rows()[int(rows.ids.argmax())]])
        raise DataError(
            f"a row of {rows.counts[wrong[0]]} values" if len(wrong) else f"the value {rows.ids.max()}",
            wanted=f"{width} zeros and ones, one for each label, as in the other rows",
            next_step="complete the row, or write the ids or names of the labels instead",
            where=line_of(rows.file, line),
        )
    table = rows.ids.reshape(-1, width)
    counts = table.sum(axis=1)
    return type(rows)(rows.file, np.nonzero(table)[1].astype(np.int64), counts, rows.lines)


def has_width(rows: LabelRows, width: int) -> bool:
    """Whether every row is so many zeros and ones."""
    return bool((rows.counts == width).all()) and int(rows.ids.max(initial=0)) <= 1


def note_width(findings: Findings, rows: LabelRows, width: int, taken: bool) -> None:
    """Notes that rows were read as zeros and ones, or that they look so and do not fit."""
    if taken:
        message = f"every row of labels is {width} zeros and ones, read as one column for each of {width} labels"
    else:
        message = (
            f"every row of labels is {width} zeros and ones, but the test rows or the list of labels are not of "
            "that length; read as the ids 0 and 1"
        )
    findings.note("zeros-and-ones", rows.file, message, severity="info" if taken else "warning", notable=True)


def check_width(width: int, n_listed: int | None, rows: LabelRows, listed_in: object) -> None:
    """Raises DataError if a list of labels has another length than the rows of zeros and ones."""
    if n_listed is not None and n_listed != width:
        raise DataError(
            f"rows of {width} zeros and ones, but {listed_in} has {n_listed} labels",
            wanted="one value for each label",
            next_step="check that both belong together; labels as ids are listed without repetition",
            where=line_of(rows.file, int(rows.lines[0])) if len(rows) else rows.file,
        )


def check_not_zeros_and_ones(rows: LabelRows) -> None:
    """Raises DataError for repeated ids that can only be zeros and ones, where a format has ids alone."""
    table = _table(rows)
    if table is not None and _repeats(table):
        raise DataError(
            f"every row is {table.shape[1]} zeros and ones, which as ids would repeat labels 0 and 1",
            wanted="the ids of the labels of each text, each once",
            next_step="write the positions of the ones, counted from 0",
            where=line_of(rows.file, int(rows.lines[0])),
        )
