"""The parts of a report: sections of figures and tables, each with its finding and its numbers as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

Cell: TypeAlias = "str | int | float | None"


@dataclass(frozen=True)
class Block:
    """A figure or a table.

    Attributes:
        name: of the CSV file, without a suffix; unique within a section.
        title: what is shown.
        finding: one sentence, or a few, computed from the numbers.
        columns: the names of the columns of its numbers.
        rows: the numbers.
        about: how the figure is read; "" where its title says it.
        draw: draws the figure into matplotlib axes; None to show the numbers as a table.
        axes: rows and columns of axes that `draw` takes.
        height: of the figure in inches.
        shown: columns of the table that are shown, in this order; () for all.
        limit: rows of the table that are shown; 0 for all.
        view: a header and cells to show in place of the numbers; None to show these.
    """

    name: str
    title: str
    finding: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    about: str = ""
    draw: Callable[..., None] | None = None
    axes: tuple[int, int] = (1, 1)
    height: float = 2.7
    shown: Sequence[str] = ()
    limit: int = 0
    view: tuple[Sequence[str], Sequence[Sequence[str]]] | None = None

    def csv(self) -> str:
        """The numbers as CSV, with a header."""
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(self.columns)
        writer.writerows([[_plain(cell) for cell in row] for row in self.rows])
        return file.getvalue()

    def table(self) -> tuple[list[str], list[list[str]]]:
        """The header and the cells as they are shown."""
        if self.view is not None:
            return list(self.view[0]), [list(row) for row in self.view[1]]
        at = [list(self.columns).index(name) for name in self.shown or self.columns]
        rows = self.rows[: self.limit] if self.limit else self.rows
        return [self.columns[i] for i in at], [[cell_text(row[i]) for i in at] for row in rows]

    def numeric(self) -> list[bool]:
        """Which of the shown columns hold numbers, which are aligned to the right."""
        if self.view is not None:
            return [i > 0 for i in range(len(self.view[0]))]
        at = [list(self.columns).index(name) for name in self.shown or self.columns]
        return [all(not isinstance(row[i], str) for row in self.rows) for i in at]


@dataclass(frozen=True)
class Section:
    """Some blocks under a heading, and a sentence above them that may be empty."""

    title: str
    blocks: Sequence[Block]
    about: str = ""

    @property
    def anchor(self) -> str:
        """The id of the heading."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


def cell_text(cell: Any) -> str:
    """A cell as it is shown: integers with separators, other numbers with two decimals, nothing for None."""
    if cell is None:
        return ""
    if isinstance(cell, float):
        return f"{cell:.2f}"
    return f"{cell:,}" if isinstance(cell, int) else cell


def _plain(cell: Cell) -> Cell:
    """A cell as CSV holds it: numbers have six digits, so that rounding errors are not part of a report."""
    return float(f"{cell:.6g}") if isinstance(cell, float) else cell
