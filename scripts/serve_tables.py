"""Makes the tables of docs/benchmarks.md on the server."""

from __future__ import annotations

from benchmark_rows import rows
from table_cells import cells_of, short, table_of

SERVE_COLUMNS = (
    ("calls per s", "library: texts per second", 1.0), ("CPU ms per call", "library: CPU ms", 1.0),
    ("answers per s", "server: texts per second", 1.0), ("times", "server: times the library", 1.0),
    ("CPU ms per answer", "server: CPU ms", 1.0), ("p50", "as fast as possible: p50", 1.0),
    ("p99", "as fast as possible: p99", 1.0), ("asked per s", "at a rate: requests per second", 1.0),
    ("p50 ms at this rate", "at a rate: p50", 1.0), ("p99 ms at this rate", "at a rate: p99", 1.0),
    ("refused or lost", "at a rate: other than 200", 1.0),
)  # fmt: skip
STRESS_COLUMNS = (("", "", 1.0),)


def serve() -> str:
    """One row per model and number of workers."""
    lines = [(_name(size), cells_of(values, SERVE_COLUMNS, "")) for size, values in rows("serve").items()]
    return table_of(lines, SERVE_COLUMNS, "serve")


def serve_stress() -> str:
    """One row per number that was measured."""
    lines = []
    for size, values in rows("serve_stress").items():
        for metric, (value, row) in values.items():
            lines.append((f"{_name(size)}, {metric}", {"": f"{short(float(value))} {row['unit']}".strip()}))
    return table_of(lines, STRESS_COLUMNS, "serve_stress")


def _name(size: str) -> str:
    """The model, and how many workers answered."""
    workers = size.partition("--workers ")[2].split()
    return f"{size.split()[0]}, {workers[0] if workers else 1} worker{'s' * (workers not in ([], ['1']))}"
