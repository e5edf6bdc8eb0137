"""Tuned values per recipe, data set and encoder: a file RECIPE.toml beside each recipe, read and matched."""

from __future__ import annotations

import functools
import tomllib
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

ANY = "*"
OF_LEVELS = ("depths", "beams", "layers", "level_dropout", "level_weights")  # a number a level of a tree


@dataclass(frozen=True)
class Preset:
    """Arguments of a recipe that were tuned for some data sets (`*`: for any) and one encoder.

    One without an encoder is for whatever encoder is asked for.
    """

    recipe: str
    sets: tuple[str, ...]
    arguments: dict[str, Any]
    origin: str

    @property
    def encoder(self) -> str:
        """The encoder that it was tuned with, or `*`."""
        return str(self.arguments.get("encoder", ANY))

    def fits(self, data_name: str, encoder: str | None) -> bool:
        """Whether it is for this data set and, where one is asked for, this encoder."""
        right_set = ANY in self.sets or data_name.lower() in (name.lower() for name in self.sets)
        return right_set and (self.encoder == ANY or encoder in (None, self.encoder))


@functools.cache
def all_presets() -> tuple[Preset, ...]:
    """Every preset, in the order of the files: those for named sets first."""
    tables = {
        file.name.removesuffix(".toml"): tomllib.loads(file.read_text(encoding="utf-8"))
        for file in files("megalabel.recipes").iterdir()
        if file.name.endswith(".toml")
    }
    return tuple(
        Preset(
            recipe,
            tuple(entry.pop("sets")),
            {k: v for k, v in entry.items() if k != "origin"},
            entry["origin"],
        )
        for recipe in sorted(tables)
        for entry in tables[recipe]["preset"]
    )


def find(recipe: str, data_name: str, encoder: str | None = None) -> Preset | None:
    """The first preset that fits, or None: then the recipe's own defaults, the paper's, hold."""
    fitting = (p for p in all_presets() if p.recipe == recipe and p.fits(data_name, encoder))
    return next(fitting, None)


def taken(preset: Preset | None, overrides: dict[str, Any]) -> dict[str, Any]:
    """What a preset gives beside the user's own arguments: for a tree of theirs, nothing that is for levels."""
    arguments = dict(preset.arguments) if preset else {}
    if overrides.get("tree") or overrides.get("depths"):
        for name in OF_LEVELS:
            arguments.pop(name, None)
    return arguments
