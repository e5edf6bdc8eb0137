"""The folder of a search: whether it is new, the same search, finished, or something else."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megalabel.errors import FormatError, SettingError
from megalabel.storage.files import read_json, write_json
from megalabel.training.run_folder import read_recipe

SEARCH = "search.json"  # what is searched, and the number of the trial that was chosen


def is_finished(out: Path, facts: Mapping[str, Any]) -> bool:
    """Whether the search in a folder is finished; writes `search.json` if the folder is new.

    Raises:
        SettingError: the folder holds something else or another search.
    """
    path = out / SEARCH
    if not path.exists():
        others = [p.name for p in out.iterdir() if not p.name.startswith(".")] if out.is_dir() else []
        if others or (out.exists() and not out.is_dir()):
            raise SettingError(
                f"{out} contains {', '.join(sorted(others)[:3])}" if others else f"{out} is a file",
                wanted="a new folder, or the folder of a search",
                next_step="use another --out",
                where="out",
            )
        write_json(path, {**facts, "chosen": None})
        return False
    there = read_json(path, next_step="use another --out, or --overwrite to search again")
    if "chosen" not in there or "data" not in there:
        raise FormatError(
            "not the search.json that megalabel wrote", wanted="the folder of a search",
            next_step="use another --out, or --overwrite to search again", where=path,
        )  # fmt: skip
    now = {**facts, "data": facts["data"]["fingerprint"]}
    before = {**{name: there.get(name) for name in facts}, "data": there["data"].get("fingerprint")}
    differing = [name for name in now if _plain(now[name]) != _plain(before[name])]
    if differing:
        shown = ", ".join(f"{name} = {before[name]}, not {now[name]}" for name in differing)
        raise SettingError(
            f"the search in {out} has {shown}",
            wanted="the same search",
            next_step="use another --out, or --overwrite to search again",
            where="out",
        )
    return there["chosen"] is not None and bool(read_recipe(out).get("finished"))


def _plain(value: Any) -> Any:
    """A value as JSON has it."""
    if isinstance(value, Mapping):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value
