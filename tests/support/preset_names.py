"""Presets of all recipes, and their names in tests."""

from megalabel.recipes import get, names
from megalabel.recipes.presets import Preset, presets_of
from megalabel.recipes.presets import find as find_for


def all_presets() -> list[Preset]:
    return [preset for name in names() for preset in presets_of(get(name))]


def find(name: str, *arguments: str) -> Preset | None:
    return find_for(get(name), *arguments)


def named(preset: Preset) -> str:
    return f"{preset.recipe}-{preset.sets[0]}-{preset.encoder}".replace("/", "-")
