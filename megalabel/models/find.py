"""Finds the model that a path stands for or, where there is none, says what is there instead."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from megalabel.data.opening import locate
from megalabel.errors import RESTORE_FOLDER, FormatError, MegalabelError
from megalabel.storage.files import latest, read_json
from megalabel.storage.manifest import NAME
from megalabel.storage.paths import as_path

RECIPE = "recipe.json"  # what makes a folder a run folder
WANTED = "the folder of a finished run, or of a model"
# What other folders with a manifest are, by a fact that only theirs has.
OTHER = {
    "texts_sha256": "a store of tokens",
    "built": "a label tree",
    "optimizers": "a checkpoint",
    "piece_lengths": "a vocabulary of sparse features",
}


def find_model(path: object) -> tuple[Path, dict[str, Any]]:
    """The folder of the model at a path, and its manifest; the one that a writer has just moved aside, if any.

    Args:
        path: a model folder or a run folder.

    Raises:
        SettingError: no path at all.
        FormatError: no such folder, a run that is not finished, a data set or something else, a damaged manifest.
    """
    given = as_path(path, "run")
    folder = given
    if not (given / NAME).exists() and (given / RECIPE).is_file():
        _check_finished(given)
        folder = given / "model"
    folder = latest(folder)
    if not (folder / NAME).is_file():
        raise _no_model(given)
    manifest = read_json(folder / NAME, next_step=RESTORE_FOLDER)
    other = next((what for fact, what in OTHER.items() if fact in manifest), None)
    if other is not None:
        raise _error(given, f"{other}, not a model", "give the folder of the run that was trained")
    return folder, manifest


def model_folder(path: str | Path) -> Path:
    """The folder itself or the model folder of a run folder; errors as those of `find_model`."""
    return find_model(path)[0]


def note_unfinished(path: Path, say: Callable[[str], Any]) -> None:
    """Says so where a path is the model folder of a run whose training has not ended."""
    recipe = path.parent / RECIPE
    if path.name == "model" and recipe.is_file() and not _facts(recipe).get("finished", True):
        say(f"{path.parent}: the run is not finished; this is its best model so far")


def _check_finished(run: Path) -> None:
    if _facts(run / RECIPE).get("finished", True):
        return
    step = "give its `megalabel train` command again, which resumes it"
    if (run / "model" / NAME).is_file():
        step += f"; or give {run / 'model'}, the best model so far"
    raise _error(run, "the run is not finished", step)


def _facts(recipe: Path) -> dict[str, Any]:
    try:
        return read_json(recipe, next_step=None)
    except FormatError:
        return {}


def _no_model(path: Path) -> FormatError:
    if not path.exists():
        near = _similar(path)
        step = f"did you mean {near}?" if near else "correct the path, or train one with `megalabel train`"
        return _error(path, "there is no such folder", step)
    if not path.is_dir():
        step = "name the folder of the run, not a file; the texts or the data come after it"
        return _error(path, "a file", step)
    if (path / RECIPE).is_file():
        if _facts(path / RECIPE).get("finished"):
            return _error(path, "the run has lost its model (model/manifest.json is missing)", RESTORE_FOLDER)
        return _error(
            path, "the run has no model yet", "give its `megalabel train` command again, which resumes it"
        )
    if (path.parent / RECIPE).is_file():
        return _error(path, "a part of a run, but not its model", f"give {path.parent}")
    runs = sorted(inside.name for inside in path.iterdir() if (inside / RECIPE).is_file())
    if runs:
        return _error(path, f"a folder of runs: {', '.join(runs[:8])}", f"give one, such as {path / runs[0]}")
    try:
        found = locate(path)[1].name
    except MegalabelError:
        names = sorted(inside.name for inside in path.iterdir())
        shown = ", ".join(names[:8]) + (", …" if len(names) > 8 else "")
        return _error(path, f"no model (the folder holds: {shown or 'nothing'})", "give the folder of a run")
    return _error(
        path, f"a data set ({found}), not a run", "give the folder of a run in its place; data come after it"
    )


def _similar(path: Path) -> Path | None:
    """A run beside where the path points, of a similar name."""
    folder = path.parent
    names = [inside.name for inside in folder.iterdir() if inside.is_dir()] if folder.is_dir() else []
    close = difflib.get_close_matches(path.name, names, n=1)
    return folder / close[0] if close else None


def _error(path: Path, found: str, step: str) -> FormatError:
    return FormatError(found, wanted=WANTED, next_step=step, where=path)
