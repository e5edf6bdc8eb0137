"""`Metrics`, the result of an evaluation: a dictionary that shows itself as a table."""

from __future__ import annotations

from megalabel.display import html_table
from megalabel.metrics.table import table


class Metrics(dict[str, float]):
    """Metrics in percent by name, such as {"P@1": 58.1, "PSP@5": 55.4}; printed as a table."""

    def __repr__(self) -> str:
        depths, rows = self._table()
        return table([(name, values) for name, values in rows], depths) if rows else "Metrics({})"

    def _repr_html_(self) -> str:
        """The table, for notebooks."""
        depths, rows = self._table()
        cells = [(name, *(f"{values[at]:.2f}" if at in values else "" for at in depths)) for name, values in rows]
        return html_table("Metrics in percent", ("metric", *depths), cells)

    def _table(self) -> tuple[list[str], list[tuple[str, dict[str, float]]]]:
        """The depths, such as "@5", and by metric its values at them."""
        rows: dict[str, dict[str, float]] = {}
        for name, value in self.items():
            family, at, depth = name.partition("@")
            rows.setdefault(family, {})[at + depth] = value
        return list(dict.fromkeys(depth for values in rows.values() for depth in values)), list(rows.items())
