"""Tuned values per recipe, data set and encoder: a file RECIPE.toml beside the module of each recipe."""

from __future__ import annotations

import functools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from megalabel.data.catalog import set_key
from megalabel.encoders.identity import same_encoder
from megalabel.errors import SettingError
from megalabel.recipes.run_encoder import is_run, plain_name
from megalabel.training.options import Options, check_names

if TYPE_CHECKING:
    from megalabel.training.recipe import RecipeFunction

ANY = "*"
OF_A_NEW_ENCODER = ("tokenizer", "vocabulary", "bigram_min_count", "hidden_dim", "encoder_weights")
PER_LEVEL = ("clusters", "beams", "layers", "level_dropout", "level_weights")  # one value per level of a tree


@dataclass(frozen=True)
class Preset:
    """Values of a recipe's options, tuned for some data sets (`*`: any) and one encoder.

    A preset without an encoder fits every encoder.
    """

    recipe: str
    sets: tuple[str, ...]
    arguments: dict[str, Any]
    origin: str

    @property
    def encoder(self) -> str:
        """The encoder for which it was tuned, or `*`."""
        return str(self.arguments.get("encoder", ANY))

    def fits(self, data_name: str, encoder: str | None) -> bool:
        """Whether it is for this data set, in any spelling, and for this encoder or a copy, if one is given."""
        key = set_key(data_name)
        right_set = ANY in self.sets or key in (set_key(name) for name in self.sets)
        return right_set and (
            self.encoder == ANY or encoder is None or same_encoder(plain_name(encoder), self.encoder)
        )


class Resolved(NamedTuple):
    """The options of a recipe for a data set, and the source of their values.

    options: all values.
    preset: the preset that fits; None if there is none, so that the recipe's defaults are used.
    taken: the values from the preset.
    """

    options: Options
    preset: Preset | None
    taken: dict[str, Any]


def presets_of(recipe: RecipeFunction[Any, Any]) -> tuple[Preset, ...]:
    """The presets of a recipe in the order of its file, those for named data sets first.

    Raises:
        SettingError: the file is not a valid file of presets.
    """
    source = recipe.source_file()
    return () if source is None else _read(recipe.address, source.with_name(f"{recipe.name}.toml"))


def find(recipe: RecipeFunction[Any, Any], data_name: str, encoder: str | None = None) -> Preset | None:
    """The first preset that fits, or None; then the recipe's defaults, those of the paper, are used."""
    return next((p for p in presets_of(recipe) if p.fits(data_name, encoder)), None)


def taken(preset: Preset | None, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a preset that the user has not set.

    Those per level are left out if the user gives a tree, those of a new encoder if the encoder is a run's.
    """
    arguments = dict(preset.arguments) if preset else {}
    if values.get("tree") or values.get("clusters"):
        for name in PER_LEVEL:
            arguments.pop(name, None)
    if is_run(values.get("encoder")):
        for name in OF_A_NEW_ENCODER:
            arguments.pop(name, None)
    return {name: value for name, value in arguments.items() if name not in values}


def resolve(recipe: RecipeFunction[Any, Any], data_name: str, values: Mapping[str, Any]) -> Resolved:
    """The options for a data set: the user's values, else those of the preset, else the defaults.

    Raises:
        SettingError: an unknown option, or an invalid value.
    """
    of = f"the recipe {recipe.address}"
    check_names(values, recipe.options.declared, of)
    preset = find(recipe, data_name, values.get("encoder"))
    from_preset = taken(preset, values)
    return Resolved(recipe.options.from_values({**from_preset, **values}, of), preset, from_preset)


@functools.cache
def _read(recipe: str, path: Path) -> tuple[Preset, ...]:
    if not path.is_file():
        return ()
    try:
        entries = tomllib.loads(path.read_text(encoding="utf-8")).get("preset", [])
        return tuple(
            Preset(
                recipe,
                tuple(entry.pop("sets")),
                {k: v for k, v in entry.items() if k != "origin"},
                entry["origin"],
            )
            for entry in entries
        )
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, KeyError, TypeError, AttributeError) as error:
        raise SettingError(
            f"{path} is not a valid file of presets ({error})",
            wanted='tables [[preset]] with sets = ["NAME"], origin = "..." and values of options',
            where="presets",
        ) from error
