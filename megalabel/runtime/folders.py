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
    run = os.path.dirname(os.path.abspath(name)) if os.path.isfile(os.path.join(name, "manifest.json")) else name
    file, manifest = os.path.join(run, EXPORTED), os.path.join(run, "model", "manifest.json")
    if not os.path.isfile(file):
        raise _not_exported(name, run)
    found = Container(file)
    if os.path.isfile(manifest):
        with open(manifest, "rb") as source:
            if crc32(source.read()) != found.model.get("manifest"):
                raise ModelError(
                    "exported from another model than the run has now",
                    wanted="the model of the run",
                    next_step=f"give `megalabel export {run}` again",
                    where=file,
                )
    return found


def _not_exported(name: str, run: str) -> ModelError:
    """The error for a folder without an exported file: what it holds, and how that becomes one."""
    kind, recipe = "", ""
    for path, key in (("manifest.json", "model"), ("model/manifest.json", "model"), ("recipe.json", "recipe")):
        for folder in (name, run):
            try:
                with open(os.path.join(folder, path), encoding="utf-8") as source:
                    value = str(json.load(source).get(key, ""))
            except (OSError, ValueError, AttributeError):
                continue
            kind, recipe = (kind or value, recipe) if key == "model" else (kind, value)
    if not kind and not recipe:
        return ModelError(
            "a folder without a model", wanted=f"a file of `megalabel export`, or {READ}", where=name
        )
    what = f"a model of the recipe {recipe}" if recipe else f"a {kind.rpartition(':')[2]}"
    if kind.endswith((":LinearClassifier", ":NeuralClassifier")):
        return ModelError(
            f"{what}, which was not exported",
            wanted=f"the file that `megalabel export` makes of {READ}",
            next_step=f"give `megalabel export {run}`",
            where=name,
        )
    return ModelError(
        what,
        wanted=READ,
        next_step=f"distill it into one: `megalabel distill {run} -o NEW`, then `megalabel export NEW`",
        where=name,
    )
