"""Compares the facts of two runs, so that a run is resumed or loaded only by the command that started it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from megalabel.errors import SettingError

FREE = (
    "log_every",
    "tables",
    "calibration",
)  # options that leave the result as it is; a run may be resumed with other values


def check_same(facts: dict[str, Any], there: dict[str, Any], out: Path) -> None:
    """SettingError unless two runs have the same recipe, arguments (except those in `FREE`) and data.

    Args:
        facts: of the run that is to be trained, as its recipe.json will have them.
        there: of the run that is in the folder.
        out: the folder.
    """
    for part in ("recipe", "arguments", "data", "encoder_sha256"):
        before, now = (_compared(side.get(part)) for side in (there, facts))
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            shown = ", ".join(f"{name} = {before.get(name)}, not {now.get(name)}" for name in names)
            if part == "data":
                shown = f"the data set {_data(before)}, not {_data(now)}"
        elif part == "encoder_sha256":
            shown = (
                f"begun with another encoder (SHA-256 {str(before)[:12]}…), not with this one ({str(now)[:12]}…)"
            )
        else:
            shown = f"{part} {before}, not {now}"
        state = "finished" if there.get("finished") else "unfinished"
        raise SettingError(
            f"the {state} run in {out} has {shown}",
            wanted="the same settings and data",
            next_step="use the options of the first command, another --out, or --overwrite to replace the run",
            where="out",
        )


def _data(facts: dict[str, Any]) -> str:
    digest = str(facts.get("fingerprint"))[:12]
    return f"{facts.get('name')!r} ({facts.get('texts')} texts, {facts.get('labels')} labels, SHA-256 {digest}…)"


def _compared(facts: Any) -> Any:
    """The facts without the path and reading options of the data, and without options that are not set.

    An older version may not have had such options.
    """
    if not isinstance(facts, dict):
        return facts
    return {k: v for k, v in facts.items() if k not in ("path", "opened", *FREE) and v is not None}
