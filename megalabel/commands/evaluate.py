"""`megalabel evaluate`: a table beside the recorded peers, and `metrics.json` in the run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from megalabel.errors import SettingError
from megalabel.files import write_json
from megalabel.inference.evaluate import evaluate
from megalabel.metrics.peers import peers
from megalabel.metrics.table import table
from megalabel.model import Model

COLUMNS = ("P@1", "P@3", "P@5", "nDCG@5", "PSP@1", "PSP@3", "PSP@5")


def evaluate_run(
    run: Path, data: Any, k: str, a: float | None, b: float | None, batch_size: int, device: str | None
) -> str:
    """Measures, writes, and returns the table to print."""
    from megalabel.device import pick

    model = Model.load(run, device=pick(device))
    found = evaluate(model, data, k=_cuts(k), a=a, b=b, batch_size=batch_size, progress=True)
    inside = (run / "manifest.json").exists() and (run.parent / "recipe.json").exists()
    write_json(
        (run.parent if inside else run) / "metrics.json", {name: round(value, 4) for name, value in found.items()}
    )
    return report(str(run), found, data.name)


def report(ours: str, found: dict[str, float], data_name: str, seconds: float | None = None) -> str:
    """The metrics beside those of the peers recorded for this data set, then all the others."""
    rows: list[tuple[str, dict[str, float]]] = [(ours, dict(found))]
    if seconds is not None:
        rows[0][1]["train s"] = seconds
    rows += [peer.row for peer in peers(data_name)]
    columns = [c for c in COLUMNS if c in found]
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
