"""The table of what a search has tried, best first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from megalabel.tuning.history import Result
from megalabel.tuning.limits import Limits

SHOWN = ("P@1", "P@5", "PSP@5")
LONGEST = 60  # characters of the values in a row


def table(results: Iterable[Result], metric: str, limits: Limits, chosen: Result | None = None) -> str:
    """A row for each trial: its number, recipe, epochs, metrics, cost and the values that it changed.

    Args:
        results: the trials in the order in which they ran.
        metric: by which they were compared.
        limits: what the chosen model may take.
        chosen: the trial that was chosen, marked by an asterisk.
    """
    results = list(results)
    first: dict[tuple[str, Any], Mapping[str, Any]] = {}
    for result in results:
        first.setdefault(_kind(result), result.values)
    columns = [metric, *(name for name in SHOWN if name != metric)]
    rows = [["", "trial", "recipe", "epochs", *columns, "s", "MB", "ms/text", "values"]]
    for result in sorted(results, key=lambda r: (-r.score(metric), r.number)):
        numbers = [f"{result.metrics[name]:.2f}" if result.finished else "" for name in columns]
        cost = [f"{result.size_mb:,.1f}", f"{result.latency_ms:,.1f}"] if result.finished else ["", ""]
        mark = "*" if chosen is not None and result.number == chosen.number else ""
        rows.append([
            mark, str(result.number), result.recipe, "" if result.epochs is None else str(result.epochs),
            *numbers, f"{result.seconds:,.1f}", *cost, _values(result, first[_kind(result)], limits),
        ])  # fmt: skip
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    left = {0, 2, len(rows[0]) - 1}
    lines = [
        "  ".join(
            cell.ljust(w) if i in left else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    return "\n".join(line.rstrip() for line in lines)


def _kind(result: Result) -> tuple[str, Any]:
    return result.recipe, result.values.get("encoder")


def _values(result: Result, first: Mapping[str, Any], limits: Limits) -> str:
    """What a row says of a trial: its encoder and the values that differ from the first trial of its kind."""
    if not result.finished:
        return _cut(result.status)
    said = [_run(result.values["encoder"])] if "encoder" in result.values else []
    if "run" in result.values:
        said.append(f"on {_run(result.values['run'])}")
    names = sorted({**first, **result.values}.keys() - {"run", "encoder"})
    changed = [name for name in names if result.values.get(name) != first.get(name)]
    said += [f"{name}={result.values.get(name)}" for name in changed]
    exceeded = limits.exceeded(result)
    return _cut(" ".join(said)) + (f" (exceeds the limit: {exceeded})" if exceeded else "")


def _run(name: Any) -> str:
    """The name of an encoder or run, or the number of the trial that it is."""
    path = Path(str(name))
    return f"trial {int(path.name)}" if path.name.isdigit() else str(name)


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
