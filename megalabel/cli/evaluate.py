"""`megalabel evaluate`: a table, and `metrics.json` in the run folder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from megalabel.errors import SettingError
from megalabel.inference.evaluate import evaluate
from megalabel.metrics.table import METRICS, table
from megalabel.models.base import load
from megalabel.storage.files import write_json


def evaluate_run(
    run: Path, data: Any, k: str, a: float | None, b: float | None, batch_size: int, device: str | None
) -> str:
    """Measures, writes, and returns the table to print."""
    model = load(run, device=device)
    found = evaluate(model, data, k=_cuts(k), a=a, b=b, batch_size=batch_size, progress=True)
    inside = (run / "manifest.json").exists() and (run.parent / "recipe.json").exists()
    write_metrics(run.parent if inside else run, found)
    return report([(str(run), found)])


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


def _cuts(k: str) -> tuple[int, ...]:
    try:
        cuts = tuple(sorted({int(part) for part in k.split(",")}))
    except ValueError:
        cuts = ()
    if not cuts or cuts[0] < 1:
        raise SettingError(f"-k {k!r}", wanted="numbers from 1 up, with commas", next_step="write e.g. 1,3,5")
    return cuts
