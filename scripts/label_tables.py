"""Makes the tables of docs/benchmarks.md on labels and texts that a trained model gets afterwards."""

from __future__ import annotations

from benchmark_columns import ADDED_LABEL_COLUMNS, FURTHER_TEXT_COLUMNS
from table_cells import table_by_size


def added_labels() -> str:
    """One row per data set, recipe and way of getting labels."""
    return table_by_size("added_labels", ADDED_LABEL_COLUMNS)


def further_texts() -> str:
    """One row per data set, recipe and way of getting texts."""
    return table_by_size("further_texts", FURTHER_TEXT_COLUMNS)
