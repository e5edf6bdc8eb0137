"""`megalabel evaluate`: a table beside the recorded peers, and `metrics.json` in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from megalabel.errors import SettingError
from megalabel.files import write_json
from megalabel.inference.evaluate import evaluate
from megalabel.metrics.peers import peers
from megalabel.metrics.table import METRICS, table
from megalabel.ranker import load


def evaluate_run(
    run: Path, data: Any, k: str, a: float | None, b: float | None, batch_size: int, device: str | None
) -> str:
    """Measures, writes, and returns the table to print."""
    model = load(run, device=device)
    found = evaluate(model, data, k=_cuts(k), a=a, b=b, batch_size=batch_size, progress=True)
    inside = (run / "manifest.json").exists() and (run.parent / "recipe.json").exists()
    write_metrics(run.parent if inside else run, found)
    return report(str(run), found, data.name)


def write_metrics(run: Path, found: dict[str, float]) -> None:
    """`metrics.json`, flat and in percent, in the run folder."""
    write_json(run / "metrics.json", {name: round(value, 4) for name, value in found.items()})


def report(ours: str, found: dict[str, float], data_name: str, seconds: float | None = None) -> str:
    """The metrics beside those of the peers recorded for this data set, then all the others."""
    rows: list[tuple[str, dict[str, float]]] = [(ours, dict(found))]
    if seconds is not None:
        rows[0][1]["train s"] = seconds
    rows += [peer.row for peer in peers(data_name)]
    columns = [c for c in METRICS if c in found]
    columns = columns or list(found)
    if seconds is not None:
        columns.append("train s")
    rest = {name: value for name, value in found.items() if name not in columns}
    lines = [table(rows, columns=columns)]
    if rest:
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
