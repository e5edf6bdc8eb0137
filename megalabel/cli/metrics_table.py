"""Measured values as a table, and as `metrics.json` in a run folder."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megalabel.metrics.table import METRICS, table
from megalabel.storage.files import write_json
from megalabel.version import __version__

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus, Split


def write_metrics(file: Path, found: dict[str, float], about: dict[str, Any]) -> None:
    """Writes metrics in percent as a flat JSON object, with what they are about under the key `about`."""
    write_json(file, {**{name: round(value, 4) for name, value in found.items()}, "about": about})


def about(data: Corpus, split: Split, model: Path, place: str | None = None) -> dict[str, Any]:
    """What was measured on what, when, and by which version; `place` is the file or folder where it was named."""
    path = data.path if place is None or place.startswith("bundled:") else Path(place).absolute()
    return {
        "model": str(model),
        "data": data.name,
        "path": None if path is None else str(path),
        "texts": len(split),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "version": __version__,
    }


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
