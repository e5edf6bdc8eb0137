"""Makes the tables of docs/benchmarks.md on the server."""

from __future__ import annotations

from benchmark_rows import rows
from table_cells import short, table_by_size, table_of

SERVE_COLUMNS = (
    ("calls per s", "library: texts per second", 1.0), ("prepacked", "library: prepacked: texts per second", 1.0),
    ("CPU ms per call", "library: CPU ms", 1.0), ("answers per s", "server: texts per second", 1.0),
    ("times the calls", "server: times the library", 1.0), ("CPU ms per answer", "server: CPU ms", 1.0),
    ("p50 ms", "as fast as possible: p50", 1.0), ("p99 ms", "as fast as possible: p99", 1.0),
    ("p50 at 50%", "at 50%: p50", 1.0), ("p99 at 50%", "at 50%: p99", 1.0), ("p50 at 80%", "at 80%: p50", 1.0),
    ("p99 at 80%", "at 80%: p99", 1.0), ("lost", "server: lost or other than 200", 1.0),
    ("load average", "server: load average", 1.0),
)  # fmt: skip
STRESS = {
    "stop": "stopped",
    "swap": "given another version",
    "memory": "memory of 1 and of 4 workers",
    "idle": "idle connections",
    "soak": "requests of all kinds",
}
STRESS_COLUMNS = {
    "times": ("tries", "connections"), "answers": ("answers", "requests"), "told 503": ("told 503",),
    "lost": ("lost requests", "lost or wrong afterwards", "lost or failed"), "p99 ms": ("p99",),
    "MB at first": ("1 workers", "memory after a tenth"),
    "MB at the end": ("4 workers", "memory afterwards", "memory at the end"),
}  # fmt: skip


def serve() -> str:
    """One row per model and number of workers."""
    return table_by_size("serve", SERVE_COLUMNS, _name)


def serve_stress() -> str:
    """One row per model and kind of stress."""
    lines = []
    for size, values in rows("serve_stress").items():
        for kind, told in STRESS.items():
            found = {metric.removeprefix(f"{kind}: "): value for metric, value in values.items()}
            cells = {
                head: short(float(found[metric][0]))
                for head, metrics in STRESS_COLUMNS.items()
                for metric in metrics
                if f"{kind}: {metric}" in values
            }
            if cells:
                workers = "" if kind == "memory" else f", {_workers(size)}"
                lines.append((f"{size.split()[0]}{workers}, {told}", cells))
    return table_of(lines, tuple((head, "", 1.0) for head in STRESS_COLUMNS), "serve_stress")


def _name(size: str) -> str:
    """The model, and how many workers answered."""
    return f"{size.split()[0]}, {_workers(size)}"


def _workers(size: str) -> str:
    found = size.partition("--workers ")[2].split() or ["1"]
    return f"{found[0]} worker{'s' * (found[0] != '1')}"
