"""Finds recipes by name or address: those of megalabel, and those of packages that the user trusts."""

from __future__ import annotations

import difflib
import functools
import importlib
import re
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from megalabel.errors import MegalabelError, SettingError
from megalabel.training.trust import check_trusted, trusting

if TYPE_CHECKING:
    from megalabel.data.corpus import Corpus
    from megalabel.training.recipe import RecipeFunction

GROUP = "megalabel.recipes"  # group of entry points


class Listed(NamedTuple):
    """A recipe in the list of `listed`.

    name: the name under which `get` finds it.
    what: a one-line description, or the reason why it cannot be loaded.
    function: the recipe; None if it cannot be loaded or its package is not trusted.
    """

    name: str
    what: str
    function: RecipeFunction[Any, Any] | None


@functools.cache
def names() -> list[str]:
    """The names of megalabel's recipes: the modules of this package that define a recipe of the same name."""
    found = []
    for path in sorted(Path(__file__).parent.glob("*.py")):
        name = path.stem
        if re.search(rf"^@recipe\n(async )?def {name}\(", path.read_text(encoding="utf-8"), re.MULTILINE):
            found.append(name)
    return found


def declared() -> dict[str, EntryPoint]:
    """The entry points of recipes in installed packages, by name; nothing is imported."""
    return {point.name: point for point in entry_points(group=GROUP) if point.name not in names()}


def listed() -> list[Listed]:
    """All recipes that have a name; those that cannot be loaded are listed with the reason."""
    found = []
    for name in [*names(), *declared()]:
        try:
            function = get(name)
            found.append(Listed(name, (function.__doc__ or "").split("\n")[0], function))
        except MegalabelError as error:
            why = "cannot be loaded: " + " ".join(str(error).split())
            found.append(Listed(name, f"not trusted: {error.next_step}" if error.where == "trust" else why, None))
    return found


def get(name: str, *, trust: Sequence[str] = ()) -> RecipeFunction[Any, Any]:
    """The recipe with a name such as "renee", or with an address such as "my_package.my_module:my_recipe".

    Args:
        name: the name of a recipe of megalabel or of an entry point of the group `megalabel.recipes`, or an
            address.
        trust: packages besides megalabel that may be imported.

    Raises:
        SettingError: there is no such recipe, or its package is not trusted.
    """
    with trusting(trust):
        if name in names():
            return _load(f"{__package__}.{name}:{name}")
        point = None if ":" in name else declared().get(name)
        if ":" not in name and point is None:
            raise _unknown(name)
        return _load(name if point is None else point.value)


def from_preset(
    recipe: str | RecipeFunction[Any, Any], corpus: Corpus, *, trust: Sequence[str] = (), **values: Any
) -> Any:
    """Builds a recipe for a corpus with the options of the preset that fits it.

    Args:
        recipe: a recipe, its name, such as "renee", or its address.
        corpus: the data set; the preset is chosen by its name and, if passed, by `encoder`.
        trust: packages besides megalabel that may be imported for the recipe or for a run on which it builds.
        values: values of options, which take precedence over the preset.

    Returns:
        The recipe, for `megalabel.train`.

    Raises:
        SettingError: an unknown recipe or option, a value out of its range, or `corpus` is not a corpus.
    """
    from megalabel.recipes.presets import resolve
    from megalabel.training.recipe import check_corpus

    check_corpus(corpus)
    if not isinstance(recipe, str) and not hasattr(recipe, "address"):
        raise SettingError(
            f"a {type(recipe).__name__}", wanted="a recipe, or its name such as 'renee'", where="recipe"
        )
    with trusting(trust):
        function = get(recipe) if isinstance(recipe, str) else recipe
        return function(corpus, resolve(function, corpus.name, values).options)


def _load(address: str) -> RecipeFunction[Any, Any]:
    """Loads the recipe "module:function"; SettingError if it is not trusted, missing or broken."""
    from megalabel.training.recipe import RecipeFunction

    module, _, name = address.partition(":")
    check_trusted(module, f"the recipe {address}")
    try:
        found = getattr(importlib.import_module(module), name)
    except MegalabelError:
        raise
    except Exception as error:  # code of other packages may raise anything
        raise SettingError(
            f"the recipe {address} cannot be imported ({type(error).__name__}: {error})",
            wanted="a module that can be imported and defines the function",
            next_step=f"correct {address}, install its package, or run the command in the folder that contains it",
            where="recipe",
        ) from error
    if not isinstance(found, RecipeFunction):
        raise SettingError(
            f"{address} is a {type(found).__name__}",
            wanted="a function decorated with megalabel.training.recipe.recipe",
            where="recipe",
        )
    return found


def _unknown(name: str) -> SettingError:
    known = [*names(), *declared()]
    close = difflib.get_close_matches(name, known, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return SettingError(
        f"there is no recipe {name!r}{meant}",
        wanted=f"one of {', '.join(known)}, or an address such as my_package.my_module:my_recipe",
        where="recipe",
    )
