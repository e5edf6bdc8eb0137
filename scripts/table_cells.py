"""Makes the cells and the tables of docs/benchmarks.md."""

from __future__ import annotations

from collections.abc import Callable

from benchmark_rows import origin, rows

from megalabel.metrics.table import table


def table_by_size(
    benchmark: str, columns: tuple[tuple[str, str, float], ...], named: Callable[[str], str] = str
) -> str:
    """One row per measured size, called `named(size)`."""
    lines = [(named(size), cells_of(values, columns)) for size, values in rows(benchmark).items()]
    return table_of(lines, columns, benchmark)


def cells_of(
    values: dict[str, tuple[str, dict[str, str]]], columns: tuple[tuple[str, str, float], ...], prefix: str = ""
) -> dict[str, str]:
    found = {head: float(values[prefix + what][0]) * f for head, what, f in columns if prefix + what in values}
    return {head: f"{value:.2f}" if "@" in head else short(value) for head, value in found.items()}


def table_of(
    lines: list[tuple[str, dict[str, str]]], columns: tuple[tuple[str, str, float], ...], benchmark: str
) -> str:
    return table(lines, [head for head, _, _ in columns], style="markdown", title="") + "\n\n" + origin(benchmark)


def short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
