"""The rows of a table of separated cells, with what the csv module refuses as errors that name the line."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from megalabel.data.file_bytes import MAX_LINE_BYTES
from megalabel.errors import DataError, line_of


def table_rows(
    lines: Iterable[str], mark: str, name: str | Path, other_way: str = ""
) -> Iterator[tuple[int, list[str]]]:
    """Yields each row with the line on which it begins, from 1; a row of a blank line has no cells.

    Args:
        lines: the lines with their ends.
        mark: what separates the cells.
        name: what errors call the table.
        other_way: what errors suggest besides a look at the line.

    Raises:
        DataError: quotes that do not match, or a cell of more than 256 MB.
    """
    with _long_cells():
        table = csv.reader(iter(lines), delimiter=mark, strict=True)
        while True:
            line = table.line_num + 1
            try:
                row = next(table, None)
            except csv.Error as error:
                raise DataError(
                    f"does not parse as a table ({error})",
                    wanted='cells with separators between them, and quotes within a quoted cell doubled ("")',
                    next_step="look for an unmatched quote at or after this line"
                    + (f"; {other_way}" if other_way else ""),
                    where=line_of(name, line),
                ) from error
            if row is None:
                return
            yield line, row


def check_cells(row: Sequence[str], header: Sequence[str], where: str) -> None:
    """DataError unless a row has as many cells as the header."""
    if len(row) != len(header):
        raise DataError(
            f"{len(row)} cells, but the header has {len(header)}",
            wanted="as many cells as the header",
            next_step="put quotes around cells that hold the separator or line breaks",
            where=where,
        )


@contextmanager
def _long_cells() -> Iterator[None]:
    """Lifts the limit of the csv module of 131,072 characters per cell to that of a line, and restores it."""
    before = csv.field_size_limit(MAX_LINE_BYTES)
    try:
        yield
    finally:
        csv.field_size_limit(before)
