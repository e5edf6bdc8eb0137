"""Makes the tables of docs/benchmarks.md on labels and texts that a trained model gets afterwards."""

from __future__ import annotations

from benchmark_columns import ADDED_LABEL_COLUMNS, FURTHER_TEXT_COLUMNS
from benchmark_rows import rows
from table_cells import cells_of, table_of


def added_labels() -> str:
    """One row per data set, recipe and way of getting labels."""
    return _table("added_labels", ADDED_LABEL_COLUMNS)


def further_texts() -> str:
    """One row per data set, recipe and way of getting texts."""
    return _table("further_texts", FURTHER_TEXT_COLUMNS)


def _table(benchmark: str, columns: tuple[tuple[str, str, float], ...]) -> str:
    return table_of(
        [(size, cells_of(values, columns, "")) for size, values in rows(benchmark).items()], columns, benchmark
    )
