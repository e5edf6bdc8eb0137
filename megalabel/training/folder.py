"""The folder of a run: whose it is, whether a run may go on in it, and what stays when it is over."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from megalabel.errors import FormatError, SettingError
from megalabel.storage.files import read_json, recover, write_json
from megalabel.storage.migrate import migrate_arguments
from megalabel.version import __version__

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.training.recipe import Recipe, Solved


BASE = "base"  # the run that the run in a folder builds on, where one command trains both
FIRST = "first"  # the trained model, while what is made of it is made


def claim(out: Path, recipe: Recipe | Solved) -> bool:
    """Writes `recipe.json`, or checks that the one there is of this very recipe; True if that run is finished.

    Raises:
        SettingError: `out` holds something else, or a run with another recipe, other arguments or other data.
    """
    return claim_as(out, recipe.name, recipe.arguments, facts_of(recipe.data), recipe.source_sha256)


def facts_of(data: Corpus) -> dict[str, Any]:
    """What `recipe.json` says of a data set."""
    return {
        "name": data.name,
        "path": str(data.path) if data.path else None,
        "fingerprint": data.fingerprint(),
        "texts": len(data.train),
        "labels": data.n_labels,
    }


def claim_as(
    out: Path, name: str, arguments: dict[str, Any], data: dict[str, Any], source_sha256: str = ""
) -> bool:
    """As `claim`, for what no recipe function made."""
    finished = same_run(out, name, arguments, data)
    if finished is not None:
        return finished
    out.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"recipe": name, "arguments": arguments, "data": data}
    if source_sha256:
        module = name.partition(":")[0] if ":" in name else f"megalabel.recipes.{name}"
        facts |= {"module": module, "source_sha256": source_sha256}
    write_json(out / "recipe.json", {**facts, "version": __version__, "finished": None})
    return False


def same_run(out: Path, name: str, arguments: dict[str, Any], data: dict[str, Any]) -> bool | None:
    """Whether the run in `out`, which must be this very one, is finished; None where there is no run yet.

    Raises:
        SettingError: `out` holds something else, or a run with another recipe, other arguments or other data.
    """
    check_out(out, finished=True)
    if not (out / "recipe.json").exists():
        return None
    recover(out / "model")
    recover(out / FIRST)
    there = recorded(out)
    # As it will be read: tuples are lists.
    _same({"recipe": name, "arguments": json.loads(json.dumps(arguments)), "data": data}, there, out)
    return bool(there.get("finished"))


def recorded(out: Path) -> dict[str, Any]:
    """The `recipe.json` of a run folder, in the words of today; FormatError for one that is damaged."""
    facts: dict[str, Any] = read_json(out / "recipe.json", next_step="train the run again")
    if isinstance(facts.get("arguments"), dict):
        facts["arguments"] = migrate_arguments(facts["arguments"])
    return facts


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
    elif out.exists() and any(p.name not in ("cache", BASE) and not p.name.startswith(".") for p in out.iterdir()):
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
    facts = recorded(out)
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
            names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
            shown = ", ".join(f"{name} = {before.get(name)} and not {now.get(name)}" for name in names)
        else:
            shown = f"{part} {before} and not {now}"
        state = "finished" if there.get("finished") else "unfinished"
        raise SettingError(
            f"the {state} run in {out} has {shown}",
            wanted="the same settings",
            next_step="repeat the first command, give another --out, or --overwrite to replace the run",
            where="out",
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
