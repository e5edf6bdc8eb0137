"""Makes the tables of docs/benchmarks.md on the runtime and on distilled models."""

from __future__ import annotations

from benchmark_columns import DISTILL_COLUMNS, RUNTIME_COLUMNS
from benchmark_rows import rows
from table_cells import cells_of, table_of


def runtime() -> str:
    """One row per exported model."""
    lines = [
        (size, cells_of(values, RUNTIME_COLUMNS, ""))
        for size, values in rows("runtime").items()
        if "installed" not in values
    ]
    return table_of(lines, RUNTIME_COLUMNS, "runtime")


def distill() -> str:
    """One row per distilled run."""
    lines = [(size, cells_of(values, DISTILL_COLUMNS, "")) for size, values in rows("distill").items()]
    return table_of(lines, DISTILL_COLUMNS, "distill")
