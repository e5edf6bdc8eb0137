"""Makes the tables of docs/benchmarks.md on linear models."""

from __future__ import annotations

from benchmark_columns import LARGE_COLUMNS, LINEAR_COLUMNS, SETS, WEIGHTS_COLUMNS
from benchmark_rows import origin, rows
from table_cells import cells_of, table_by_size, table_of

from megalabel.metrics.table import table


def linear() -> str:
    """One table per data set, with one row per tool."""
    parts = []
    for name in SETS:
        own = {size.partition(" ")[2]: v for size, v in rows("linear").items() if size.split()[0] == name}
        lines = [
            (who.replace("linear", "**megalabel linear**"), cells_of(v, LINEAR_COLUMNS)) for who, v in own.items()
        ]
        if lines:
            parts.append(table(lines, [head for head, _, _ in LINEAR_COLUMNS], style="markdown", title=name))
    return "\n\n".join([*parts, origin("linear")])


def linear_large() -> str:
    """One row per size and number of trees."""
    lines = []
    for size, values in rows("linear_large").items():
        facts = dict(part.split("=") for part in size.split())
        name = f"{int(facts['L']):,} labels, trees: {facts['trees']}, threads: {facts['threads']}"
        name += f", {facts['weights']}, pruned below {facts['prune']}" if "weights" in facts else ", version 0.1"
        lines.append((name, cells_of(values, LARGE_COLUMNS)))
    return table_of(lines, LARGE_COLUMNS, "linear_large")


def linear_weights() -> str:
    """One row per data set and stored type of the weights."""
    return table_by_size("linear_weights", WEIGHTS_COLUMNS)
