"""About how many rows a file of texts has, before it is read, so that progress can show the time that is left."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from megalabel.inference.guess import PLAIN, SUFFIXES
from megalabel.inference.record import Row

READ = 1 << 26  # bytes whose lines are counted
PIECE = 1 << 20


class ExpectedRows(Iterator[Row]):
    """Rows of which there are about n, as `operator.length_hint` says."""

    def __init__(self, rows: Iterator[Row], n: int) -> None:
        self._rows, self._n = rows, n

    def __next__(self) -> Row:
        return next(self._rows)

    def __length_hint__(self) -> int:
        return self._n


def expected_rows(path: str | Path) -> int:
    """About how many rows a file has: its lines, or those of a Parquet file; 0 where that is not known.

    Of a file beyond 64 MiB, the lines of the beginning are counted. Pipes and compressed files are not read.
    """
    file = Path(path)
    suffix = file.suffix.lower()
    if str(path) == "-" or not file.is_file() or suffix not in (*SUFFIXES, *PLAIN) or suffix == ".json":
        return 0
    try:
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            return int(pq.read_metadata(file).num_rows)
        lines = read = 0
        with open(file, "rb") as stream:
            while read < READ and (piece := stream.read(PIECE)):
                lines, read = lines + piece.count(b"\n"), read + len(piece)
    except (OSError, ValueError):  # whoever reads it will say what is wrong
        return 0
    return round(lines * file.stat().st_size / read) if read else 0


def total_of(inputs: Any) -> int | None:
    """The number of inputs, about; None where it is not known."""
    if hasattr(inputs, "shape"):
        return int(inputs.shape[0])
    return operator.length_hint(inputs, 0) or None
