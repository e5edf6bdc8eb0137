"""Compares the facts of two runs, so that a run goes on, or is loaded, only under the command that began it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from megalabel.errors import SettingError

FREE = ("log_every",)  # options that change nothing but the log: a run may go on with other values of them


def check_same(facts: dict[str, Any], there: dict[str, Any], out: Path) -> None:
    """SettingError unless two runs have the same recipe, arguments (but for those in `FREE`) and data.

    Args:
        facts: of the run that is to be trained, as its recipe.json will have them.
        there: of the run that is in the folder.
        out: the folder.
    """
    for part in ("recipe", "arguments", "data"):
        before, now = (_compared(side.get(part)) for side in (there, facts))
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            shown = ", ".join(f"{name} = {before.get(name)} and not {now.get(name)}" for name in names)
            if part == "data":
                shown = f"the data set {_data(before)} and not {_data(now)}"
        else:
            shown = f"{part} {before} and not {now}"
        state = "finished" if there.get("finished") else "unfinished"
        raise SettingError(
            f"the {state} run in {out} has {shown}",
            wanted="the same settings and data",
            next_step="repeat the first command, give another --out, or --overwrite to replace the run",
            where="out",
        )


def _data(facts: dict[str, Any]) -> str:
    digest = str(facts.get("fingerprint"))[:12]
    return f"{facts.get('name')!r} ({facts.get('texts')} texts, {facts.get('labels')} labels, SHA-256 {digest}…)"


def _compared(facts: Any) -> Any:
    """The facts without how data were opened and from where, and without options that are not set.

    An older version may not have had such an option.
    """
    if not isinstance(facts, dict):
        return facts
    return {k: v for k, v in facts.items() if k not in ("path", "opened", *FREE) and v is not None}
