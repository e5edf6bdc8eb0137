"""The folder of a run: whose it is, whether a run may go on in it, and what stays when it is over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megalabel.errors import FormatError, SettingError
from megalabel.storage.files import read_json, recover, write_json
from megalabel.version import __version__

if TYPE_CHECKING:
    from megalabel.training.recipe import Recipe, Solved


FIRST = "first"  # the trained model, while what is made of it is made


def claim(out: Path, recipe: Recipe | Solved) -> bool:
    """Writes `recipe.json`, or checks that the one there is of this very recipe; True if that run is finished.

    Raises:
        SettingError: `out` holds something else, or a run with another recipe, other arguments or other data.
    """
    data = {
        "name": recipe.data.name,
        "path": str(recipe.data.path) if recipe.data.path else None,
        "fingerprint": recipe.data.fingerprint(),
        "texts": len(recipe.data.train),
        "labels": recipe.data.n_labels,
    }
    return claim_as(out, recipe.name, recipe.arguments, data)


def claim_as(out: Path, name: str, arguments: dict[str, Any], data: dict[str, Any]) -> bool:
    """As `claim`, for what no recipe function made."""
    # As it will be read: tuples are lists.
    facts = {"recipe": name, "arguments": json.loads(json.dumps(arguments)), "data": data}
    check_out(out, finished=True)
    if not (out / "recipe.json").exists():
        out.mkdir(parents=True, exist_ok=True)
        write_json(out / "recipe.json", {**facts, "version": __version__, "finished": None})
        return False
    recover(out / "model")
    recover(out / FIRST)
    there = read_json(out / "recipe.json", next_step="give another --out")
    _same(facts, there, out)
    return bool(there.get("finished"))


def check_out(out: Path, *, finished: bool = False) -> None:
    """SettingError where a run cannot be written: a file, a folder with other contents.

    A finished run is refused too, unless `finished` says that it may be one.
    """
    if (out / "recipe.json").exists():
        if not finished and read_json(out / "recipe.json", next_step="give another --out").get("finished"):
            raise SettingError(
                f"the run in {out} is finished", wanted="a new folder", next_step="give another --out"
            )
    elif out.exists() and not out.is_dir():
        raise SettingError(f"{out} is a file", wanted="a folder", next_step="give another --out")
    elif out.exists() and any(p.name != "cache" and not p.name.startswith(".") for p in out.iterdir()):
        raise SettingError(
            f"the folder {out} holds other things",
            wanted="a new folder, or the folder of a run",
            next_step="give another --out",
        )


def finished_run(out: Path) -> dict[str, Any]:
    """What `recipe.json` says of a finished run: recipe, arguments, data. SettingError if there is none.

    FormatError for one that is damaged.
    """
    if not (out / "recipe.json").is_file():
        raise SettingError(
            f"no run in {out}",
            wanted="the folder of a finished run, with its recipe.json",
            next_step="correct the path, or train one with `megalabel train`",
            where="run",
        )
    facts: dict[str, Any] = read_json(out / "recipe.json", next_step="train the run again")
    if not facts.get("finished"):
        raise SettingError(
            f"the run in {out} is not finished",
            wanted="a finished run",
            next_step="give its `megalabel train` command again: it goes on",
            where="run",
        )
    kinds = {"recipe": str, "arguments": dict, "data": dict}
    if not all(isinstance(facts.get(name), kind) for name, kind in kinds.items()):
        raise FormatError(
            "no facts of the run's recipe, arguments and data",
            wanted="the recipe.json that megalabel wrote",
            next_step="train the run again",
            where=out / "recipe.json",
        )
    return facts


def _same(facts: dict[str, Any], there: dict[str, Any], out: Path) -> None:
    for part in ("recipe", "arguments", "data"):
        before, now = (_without_path(side.get(part)) for side in (there, facts))  # data may be elsewhere now
        if before == now:
            continue
        if isinstance(before, dict) and isinstance(now, dict):
            keys = [k for k in {**before, **now} if before.get(k) != now.get(k)]
            before, now = ({k: side.get(k) for k in keys} for side in (before, now))
        state = "finished" if there.get("finished") else "unfinished"
        raise SettingError(
            f"the {state} run in {out} has {part} {before}, this one {now}",
            wanted="the same, to go on with it",
            next_step="repeat the first command, or give another --out",
        )


def _without_path(facts: Any) -> Any:
    return {k: v for k, v in facts.items() if k != "path"} if isinstance(facts, dict) else facts


def finish(out: Path, facts: dict[str, Any]) -> None:
    """Writes into `recipe.json` that the run is over and its facts, and removes what only going on needed."""
    there = read_json(out / "recipe.json", next_step="give another --out")
    there["finished"] = {k: round(v, 1) for k, v in facts.items()}
    write_json(out / "recipe.json", there)
    left_behind = (*out.glob(".model.*-*"), *out.glob(f".{FIRST}.*-*"))  # by kills
    for folder in (out / "last", out / "cache", out / FIRST, *left_behind):
        shutil.rmtree(folder, ignore_errors=True)
