"""Label ids with gaps: numbers such as 700123 that name labels, rather than count them."""

from __future__ import annotations

import numpy as np

from megalabel.data.findings import Findings
from megalabel.data.label_rows import LabelRows
from megalabel.data.texts import Texts
from megalabel.data.types import Unseen

# Up to so many labels, ids stay what they are; beyond, they are names if fewer than one in ten occurs.
_FROM, _RATIO = 1000, 10


class IdsAsNames:
    """Maps ids that occur in training to columns, in ascending order.

    Args:
        ids: the ids that occur, any number of times each.
    """

    def __init__(self, ids: np.ndarray) -> None:
        self._ids = np.unique(ids)

    def __len__(self) -> int:
        return len(self._ids)

    @classmethod
    def needed(cls, rows: LabelRows, n_labels: int) -> IdsAsNames | None:
        """The mapping, if the ids have such gaps that a column for every number makes no sense."""
        if n_labels <= _FROM:
            return None
        found = cls(rows.ids)
        return found if n_labels > _RATIO * len(found) else None

    def names(self) -> Texts:
        """The name of each column, which is its id."""
        return Texts.from_strings(str(i) for i in self._ids.tolist())

    def rows(self, rows: LabelRows) -> tuple[LabelRows, Unseen | None]:
        """The rows with columns for ids, and the labels of which training has none."""
        at = np.minimum(np.searchsorted(self._ids, rows.ids), len(self._ids) - 1)
        known = self._ids[at] == rows.ids
        mapped = LabelRows(rows.file, at, rows.counts, rows.lines).keep(known)
        if known.all():
            return mapped, None
        names = Texts.from_strings(str(i) for i in rows.ids[~known].tolist())
        return mapped, Unseen(rows.rows()[~known], names)


def note_gaps(
    findings: Findings,
    rows: LabelRows,
    n_labels: int,
    mapped: bool = False,
    step: str = "put their names in Y.txt",
) -> None:
    """Notes ids of which most do not occur, where no list says which labels exist.

    mapped: whether they were read as names; otherwise `step` is what can be done.
    """
    used = len(np.unique(rows.ids))
    if n_labels <= 2 * used or not used:
        return
    message = f"only {used:,} of the label ids from {int(rows.ids.min()):,} to {n_labels - 1:,} occur; "
    message += (
        f"read as {used:,} labels that are called by these numbers"
        if mapped
        else f"read as {n_labels:,} labels, since ids count from 0; {step} if they are names"
    )
    findings.note("gaps", rows.file, message, notable=True)
