"""Makes the tables of docs/benchmarks.md on indexes and on long texts in trees of `linear`."""

from __future__ import annotations

from benchmark_columns import INDEX_COLUMNS, LONG_QUERY_COLUMNS
from benchmark_rows import origin, rows

from megalabel.metrics.table import table

NOTE = " shared-machine"  # of sizes that were measured beside other work


def index() -> str:
    """One row per number of labels and kind; metrics are named "kind: metric"."""
    return _table("index", "L", "labels", INDEX_COLUMNS)


def long_queries() -> str:
    """One row per number of features and way; metrics are named "way: metric"."""
    return _table("long_queries", "features", "features", LONG_QUERY_COLUMNS)


def _table(benchmark: str, count: str, word: str, columns: tuple[tuple[str, str, float], ...]) -> str:
    lines, found = [], rows(benchmark)
    for size, values in found.items():
        facts = dict(part.split("=") for part in size.split() if "=" in part)
        if size.endswith(NOTE) and size.removesuffix(NOTE) in found:
            continue  # measured again without other work beside it
        for way in dict.fromkeys(metric.rpartition(": ")[0] for metric in values):
            names = {head: (f"{way}: {metric}", factor) for head, metric, factor in columns}
            cells = {
                head: _short(factor * float(values[name][0]))
                for head, (name, factor) in names.items()
                if name in values
            }
            labels = "" if count == "L" else f"{int(facts['L']):,} labels, "
            lines.append((f"{labels}{int(facts[count]):,} {word}, {way}", cells))
    return table(lines, [head for head, _, _ in columns], style="markdown", title="") + "\n\n" + origin(benchmark)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
