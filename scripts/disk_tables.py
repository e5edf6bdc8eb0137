"""Makes the tables of docs/benchmarks.md on tables and texts that lie on disk."""

from __future__ import annotations

from benchmark_columns import DISK_COLUMNS, STREAMED_COLUMNS
from benchmark_rows import origin, rows

from megalabel.metrics.table import table


def tables_on_disk() -> str:
    """One row per head, cap and place of the tables; metrics are named "place: metric"."""
    return _facts("tables_on_disk", "L", "labels, cap {cap}", DISK_COLUMNS)


def streamed_texts() -> str:
    """One row per size and version; metrics are named "version: metric"."""
    return _facts("streamed_texts", "N", "texts of {bytes} bytes", STREAMED_COLUMNS)


def _facts(benchmark: str, count: str, words: str, columns: tuple[tuple[str, str, float], ...]) -> str:
    """One row per size, of which a number and `words` are told, and implementation."""
    lines = []
    for size, values in rows(benchmark).items():
        facts = dict(part.split("=") for part in size.split() if "=" in part)
        kind = next(part for part in size.split() if "=" not in part)
        for way in dict.fromkeys(metric.partition(": ")[0] for metric in values):
            found = {head: f"{way}: {metric}" for head, metric, _ in columns if f"{way}: {metric}" in values}
            cells = {head: _short(float(values[name][0])) for head, name in found.items()}
            lines.append((f"{kind}, {int(facts[count]):,} {words.format(**facts)}: {way}", cells))
    return table(lines, [head for head, _, _ in columns], style="markdown", title="") + "\n\n" + origin(benchmark)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
