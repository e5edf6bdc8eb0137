"""Finds the exported file of a run folder, or says why there is none and what to do."""

from __future__ import annotations

import json
import os
from zlib import crc32

from .container import Container
from .errors import ModelError

EXPORTED = "model.mlr"  # what `megalabel export RUN` writes into the folder of the run
READ = "a linear model, or a bag with a dense, sparse or cascade head"


def opened(path: str | os.PathLike[str]) -> Container:
    """The file at a path, or the exported one of a run folder or its model folder.

    Raises:
        ModelError: there is none; the run has another model now; what the folder holds cannot be exported.
    """
    name = os.fspath(path) if isinstance(path, (str, os.PathLike)) else None
    if not isinstance(name, str) or not name:
        raise ModelError(f"{path!r}", wanted="the path of a file of `megalabel export`", where="path")
    if not os.path.isdir(name):
        return Container(name)
    within = os.path.abspath(name)
    folders = [within, os.path.dirname(within)] if os.path.basename(within) == "model" else [within]
    files = [os.path.join(folder, EXPORTED) for folder in folders]
    file = next((place for place in files if os.path.isfile(place)), None)
    if file is None:
        raise _not_exported(name)
    found = Container(file)
    folder = os.path.dirname(file)
    for place in (os.path.join(folder, "model", "manifest.json"), os.path.join(folder, "manifest.json")):
        if os.path.isfile(place):
            with open(place, "rb") as source:
                if crc32(source.read()) != found.model.get("manifest"):
                    raise ModelError(
                        "exported from another model than the folder has now",
                        wanted="the model of the folder",
                        next_step=f"run `megalabel export {name}` again",
                        where=file,
                    )
            break
    return found


def _not_exported(name: str) -> ModelError:
    """The error for a folder without an exported file: what it holds, and how that becomes one."""
    kind = _fact(name, "manifest.json", "model") or _fact(name, "model/manifest.json", "model")
    recipe = _fact(name, "recipe.json", "recipe")
    if not kind and not recipe:
        return ModelError(
            "a folder without a model", wanted=f"a file of `megalabel export`, or {READ}", where=name
        )
    what = f"a model of the recipe {recipe}" if recipe else f"a {kind.rpartition(':')[2]}"
    if kind.endswith((":LinearClassifier", ":NeuralClassifier")):
        return ModelError(
            f"{what}, which was not exported",
            wanted=f"the file that `megalabel export` makes of {READ}",
            next_step=f"run `megalabel export {name}`",
            where=name,
        )
    return ModelError(
        what,
        wanted=READ,
        next_step=f"distill it into one: `megalabel distill {name} DATA -o NEW`, then `megalabel export NEW`",
        where=name,
    )


def _fact(folder: str, file: str, key: str) -> str:
    """A string in a JSON file of a folder; "" where there is none."""
    try:
        with open(os.path.join(folder, file), encoding="utf-8") as source:
            return str(json.load(source).get(key, ""))
    except (OSError, ValueError, AttributeError):
        return ""
