"""The papers, one page each: a file here is a recipe of the file's name, found by looking."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from megalabel.errors import SettingError

_NOT_RECIPES = ("presets", "shared")


def names() -> list[str]:
    """The recipes there are."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name not in _NOT_RECIPES)


def get(name: str) -> Callable[..., Any]:
    """The recipe function called `name`: (corpus, *, knobs…) to Recipe."""
    if name not in names():
        raise SettingError(f"recipe {name!r}", wanted=", ".join(names()), next_step="name one of these")
    found: Callable[..., Any] = getattr(importlib.import_module(f"{__name__}.{name}"), name)
    return found


def tuned(name: str, data: Any, **overrides: Any) -> Any:
    """The recipe `name` for a corpus with the values of the preset that fits, as the command line takes them.

    Args:
        name: a recipe, such as "renee".
        data: the corpus; its name chooses the preset, and so does `encoder` where it is given.
        overrides: arguments of the recipe that go before the preset's.

    Raises:
        SettingError: an unknown recipe or argument, a value out of its range, what is no corpus.
    """
    from megalabel.recipes.presets import find, taken
    from megalabel.training.recipe import check_corpus

    check_corpus(data)
    return get(name)(data, **{**taken(find(name, data.name, overrides.get("encoder")), overrides), **overrides})
