"""What the numbers in rows of labels are: ids that count columns, ids that are names, or zeros and ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from megalabel.data.findings import Findings
from megalabel.data.gaps import IdsAsNames, note_gaps
from megalabel.data.label_rows import LabelRows
from megalabel.data.texts import Texts
from megalabel.data.types import Unseen
from megalabel.data.vocabulary import Vocabulary
from megalabel.data.zeros_and_ones import check_width, columns_of, has_width, note_width, width_of


@dataclass(frozen=True)
class IdForm:
    """What the numbers in the rows of labels are; the training rows decide, and the test rows follow.

    Attributes:
        width: the number of labels, if every row is that many zeros and ones.
        ids: the ids that occur, if ids are names.
    """

    width: int | None = None
    ids: IdsAsNames | None = None

    @classmethod
    def of(
        cls,
        rows: LabelRows,
        test_rows: LabelRows | None,
        vocabulary: Vocabulary,
        findings: Findings,
        *,
        flags: bool,
        filtered: bool,
    ) -> IdForm:
        """The form of the rows; notes what is not plain.

        Args:
            rows: the training rows.
            test_rows: the test rows, if there are any.
            vocabulary: what mapped labels to these rows.
            findings: gets the notes.
            flags: whether values were of a type that only zeros and ones have.
            filtered: whether there are filter pairs, whose label ids count columns.

        Raises:
            DataError: rows of zeros and ones that do not fit the list of labels.
        """
        if vocabulary.by_name or not len(rows.ids):
            return cls()
        width = int(rows.counts[rows.counts > 0][0]) if flags else width_of(rows)
        if width is not None:
            n_listed = vocabulary.n_listed
            fits = n_listed in (None, width) and (test_rows is None or has_width(test_rows, width))
            if flags:
                check_width(width, n_listed, rows, vocabulary.listed_in)
            note_width(findings, rows, width, fits or flags)
            if fits or flags:
                return cls(width)
        if vocabulary.n_listed is not None:
            return cls()
        ids = None if filtered else IdsAsNames.needed(rows, vocabulary.n_labels)
        note_gaps(findings, rows, vocabulary.n_labels, ids is not None, "write them in quotes")
        return cls(None, ids)

    def n_labels(self, vocabulary: Vocabulary) -> int:
        """The number of labels, L."""
        return self.width or (vocabulary.n_labels if self.ids is None else len(self.ids))

    def names(self, vocabulary: Vocabulary) -> Texts:
        """The L label names."""
        if self.width is not None and vocabulary.n_listed is None:
            return Texts.numbers(self.width)
        return vocabulary.names() if self.ids is None else self.ids.names()

    def apply(self, rows: LabelRows, unseen: Unseen | None) -> tuple[LabelRows, Unseen | None]:
        """The rows of a split with columns for ids, and its labels that have no column.

        Raises:
            DataError: a row that is not zeros and ones where the others are.
        """
        if self.width is not None:
            return columns_of(rows, self.width), unseen
        if self.ids is None:
            return rows, unseen
        mapped, more = self.ids.rows(rows)
        return mapped, _joined(unseen, more)


def _joined(a: Unseen | None, b: Unseen | None) -> Unseen | None:
    if a is None or b is None:
        return b if a is None else a
    rows, names = np.concatenate([a.rows, b.rows]), [*a.names, *b.names]
    order = np.argsort(rows, kind="stable")
    return Unseen(rows[order], Texts.from_strings(names[i] for i in order.tolist()))
