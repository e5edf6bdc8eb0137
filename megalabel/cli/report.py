"""Measured values as a table, and as `metrics.json` in a run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from megalabel.metrics.table import METRICS, table
from megalabel.storage.files import write_json


def write_metrics(run: Path, found: dict[str, float]) -> None:
    """`metrics.json`, flat and in percent, in the run folder."""
    write_json(run / "metrics.json", {name: round(value, 4) for name, value in found.items()})


def report(ours: list[tuple[str, dict[str, float]]], others: Sequence[tuple[str, dict[str, float]]] = ()) -> str:
    """A table of our rows, best P@1 first, above the rows of other tools.

    A single row of ours is followed by its metrics that the table has no column for.

    Args:
        ours: the name and the values of each row: metrics in percent, and "train s" if known.
        others: the rows of other tools, printed in the order given.
    """
    ours = sorted(ours, key=lambda row: -row[1].get("P@1", 0))
    measured = ours[0][1]
    columns = [c for c in METRICS if c in measured] or list(measured)
    if "train s" in measured:
        columns.append("train s")
    lines = [table([*ours, *others], columns=columns)]
    rest = {name: value for name, value in measured.items() if name not in columns}
    if rest and len(ours) == 1:
        lines += ["", "  ".join(f"{name} {value:.2f}" for name, value in rest.items())]
    return "\n".join(lines)
