"""The folder of a run: creates it, checks whether a run may resume in it, and cleans it up at the end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from megalabel.errors import FormatError, SettingError
from megalabel.inputs.batches import hold_out
from megalabel.phases import seconds_by_phase
from megalabel.storage import migrate
from megalabel.storage.files import read_json, recover, write_bytes_atomically, write_json
from megalabel.storage.reading import reading
from megalabel.training.cleanup import BASE as BASE
from megalabel.training.cleanup import remove_temporary_files
from megalabel.training.same_run import check_same
from megalabel.version import __version__

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.training.recipe import DirectRecipe, Recipe


FIRST = "first"  # the trained model during the second stage
NEEDED = ("last", "cache", FIRST)  # needed only while the run may be resumed
HELD_OUT = "held_out.npy"  # the rows of the training set that were held out, (n,) int64, ascending


def create_run_folder(out: Path, recipe: Recipe | DirectRecipe) -> bool:
    """Writes `recipe.json` and `held_out.npy`, or checks existing ones; True if the existing run is finished.

    Raises:
        SettingError: `out` holds something else, or a run with another recipe, other arguments, other data or
            other held-out rows.
    """
    held = np.asarray(recipe.validation, np.int64)
    digests = {"source_sha256": recipe.source_sha256, "encoder_sha256": getattr(recipe, "encoder_sha256", "")}
    return create_folder(out, recipe.name, recipe.arguments, data_facts(recipe.data), held, digests)


def data_facts(data: Corpus) -> dict[str, Any]:
    """The entry of a data set in `recipe.json`."""
    opened = {"opened": data.opened} if data.opened else {}
    return opened | {
        "name": data.name,
        "path": str(data.path.absolute()) if data.path else None,
        "fingerprint": data.fingerprint(),
        "texts": len(data.train),
        "labels": data.n_labels,
    }


def create_folder(
    out: Path,
    name: str,
    arguments: dict[str, Any],
    data: dict[str, Any],
    held: np.ndarray | None = None,
    digests: Mapping[str, str] | None = None,
) -> bool:
    """`create_run_folder` without a recipe.

    held: the held-out rows, None if they are unknown.
    digests: `source_sha256` of the recipe and `encoder_sha256` of the run that the encoder is taken from, if any.
    """
    given = dict(digests or {})
    finished = same_run(out, name, arguments, data, given.get("encoder_sha256", ""))
    if finished is not None:
        if finished:
            remove_temporary_files(out, ("model", FIRST), NEEDED)
        if held is not None:
            _same_rows(held, held_out_rows(out), out)
        return finished
    out.mkdir(parents=True, exist_ok=True)
    facts: dict[str, Any] = {"recipe": name, "arguments": arguments, "data": data}
    if given.get("source_sha256"):
        module = name.partition(":")[0] if ":" in name else f"megalabel.recipes.{name}"
        facts |= {"module": module}
    facts |= {key: value for key, value in given.items() if value}
    write_json(out / "recipe.json", {**facts, "version": __version__, "finished": None})
    if held is not None:
        _write_rows(out / HELD_OUT, held)
    return False


def same_run(
    out: Path, name: str, arguments: dict[str, Any], data: dict[str, Any], encoder_sha256: str = ""
) -> bool | None:
    """Whether the run in `out`, which must be the same run, is finished; None if there is no run yet.

    Raises:
        SettingError: `out` holds something else, or a run with another recipe, other arguments (except those in
            `same_run.FREE`), other data, or another encoder to start from.
    """
    check_out(out, finished=True)
    if not (out / "recipe.json").exists():
        return None
    recover(out / "model")
    recover(out / FIRST)
    there = read_recipe(out)
    there["arguments"] = migrate.with_added(name, there.get("arguments"), arguments)
    # As it will be read: tuples are lists.
    facts = {"recipe": name, "arguments": json.loads(json.dumps(arguments)), "data": data}
    # Where the run with the encoder is gone, a finished run can still be loaded.
    check_same({**facts, "encoder_sha256": encoder_sha256 or there.get("encoder_sha256")}, there, out)
    return bool(there.get("finished"))


def read_recipe(out: Path) -> dict[str, Any]:
    """The `recipe.json` of a run folder, with names of the current version; FormatError if it is damaged."""
    facts, next_step = read_json(out / "recipe.json", next_step="train the run again"), "train the run again"
    with reading(out / "recipe.json", wanted="the recipe.json that megalabel wrote", next_step=next_step):
        return migrate.recipe_json(facts)


def held_out_rows(run_folder: str | Path) -> np.ndarray:
    """The rows of the training set that a run held out, (n,) int64, ascending; empty if it held out nothing.

    Raises:
        SettingError: a run of version 0.1.0 builds on another run, which no longer exists.
        FormatError: the folder is not a run folder, or damaged.
    """
    folder = Path(run_folder)
    if (folder / HELD_OUT).is_file():
        with reading(folder, wanted=f"{HELD_OUT} with row numbers", next_step="train the run again"):
            rows: np.ndarray = np.load(folder / HELD_OUT, allow_pickle=False)
            if rows.ndim != 1 or rows.dtype != np.int64:
                raise ValueError(f"rows of shape {rows.shape} and dtype {rows.dtype}")
            return rows
    facts = read_recipe(folder)  # version 0.1.0 stored no rows, but drew them from two numbers
    with reading(folder, wanted="the recipe.json that megalabel wrote", next_step="train the run again"):
        run = facts["arguments"].get("run")
        texts = int(facts["data"]["texts"])
        fraction, seed = migrate.held_out(facts)
    if run is not None and facts["recipe"] == "hybrid":
        return held_out_rows(finished_folder(Path(run)))
    return hold_out(texts, fraction, seed)[1]


def held_out_of(run_folder: str | Path, corpus: Corpus) -> np.ndarray:
    """The rows of a data set that a run held out, (n,) int64; none where it is no finished run on these data."""
    folder = Path(run_folder)
    facts = read_recipe(folder) if (folder / "recipe.json").is_file() else {}
    same = facts.get("finished") and facts["data"].get("fingerprint") == corpus.fingerprint()
    return held_out_rows(folder) if same else np.empty(0, np.int64)


def _write_rows(path: Path, rows: np.ndarray) -> None:
    with write_bytes_atomically(path) as file:
        np.save(file, np.sort(rows.astype(np.int64)))


def _same_rows(now: np.ndarray, before: np.ndarray, out: Path) -> None:
    if np.array_equal(np.sort(now), np.sort(before)):
        return
    raise SettingError(
        f"the run in {out} holds out {len(before):,} texts, this one {len(now):,}, and not the same ones",
        wanted="the same held-out texts",
        next_step="use the options of the first command, another --out, or --overwrite to replace the run",
        where="out",
    )


def check_out(out: Path, *, finished: bool = False) -> None:
    """Raises SettingError if `out` is a file or a folder with other contents.

    A finished run is also an error, unless `finished` is True.
    """
    if (out / "recipe.json").exists():
        if not finished and read_recipe(out).get("finished"):
            raise SettingError(
                f"the run in {out} is finished", wanted="a new folder", next_step="use another --out"
            )
    elif out.exists() and not out.is_dir():
        raise SettingError(f"{out} is a file", wanted="a folder", next_step="use another --out")
    elif out.exists() and any(p.name not in ("cache", BASE) and not p.name.startswith(".") for p in out.iterdir()):
        raise SettingError(
            f"the folder {out} contains other files",
            wanted="a new folder, or the folder of a run",
            next_step="use another --out",
        )


def finished_run(out: Path) -> dict[str, Any]:
    """The `recipe.json` of a finished run: recipe, arguments, data.

    Raises SettingError if there is no finished run, FormatError if `recipe.json` is damaged.
    """
    if not (out / "recipe.json").is_file():
        raise SettingError(
            f"no run in {out}",
            wanted="the folder of a finished run, with its recipe.json",
            next_step="correct the path, or train one with `megalabel train`",
            where="run",
        )
    facts = read_recipe(out)
    if not facts.get("finished"):
        raise SettingError(
            f"the run in {out} is not finished",
            wanted="a finished run",
            next_step="run its `megalabel train` command again to resume it",
            where="run",
        )
    return checked_facts(out, facts)


def checked_facts(out: Path, facts: dict[str, Any]) -> dict[str, Any]:
    """What `recipe.json` holds; FormatError unless it has a recipe, arguments and data."""
    kinds = {"recipe": str, "arguments": dict, "data": dict}
    if not all(isinstance(facts.get(name), kind) for name, kind in kinds.items()):
        raise FormatError(
            "the recipe, arguments or data of the run are missing",
            wanted="the recipe.json that megalabel wrote",
            next_step="train the run again",
            where=out / "recipe.json",
        )
    return facts


def finished_folder(out: Path) -> Path:
    """Returns the folder if it holds a finished run; errors as in `finished_run`."""
    finished_run(out)
    return out


def finish(out: Path, facts: dict[str, Any], best: dict[str, Any] | None = None) -> None:
    """Marks the run as finished in `recipe.json`, and removes what only a resumed run needs.

    facts: numbers about the run. best: metric, value, step and epoch of the best validation, if there was one.
    """
    there = read_recipe(out)
    there["finished"] = {k: round(v, 1) for k, v in facts.items()}
    if phases := seconds_by_phase():
        there["phases"] = {name: round(seconds, 2) for name, seconds in phases.items()}
    if best is not None:
        there["best_validation"] = best
    write_json(out / "recipe.json", there)
    remove_temporary_files(out, ("model", FIRST), NEEDED)


def note(out: Path, **facts: Any) -> None:
    """Adds facts to the `recipe.json` of an unfinished run."""
    there = read_recipe(out)
    if any(there.get(name) != value for name, value in facts.items()):
        write_json(out / "recipe.json", {**there, **facts})
