"""`megalabel recipes`: the recipes as a table; of one recipe, its presets with their values and provenance."""

from __future__ import annotations

from typing import Annotated

import typer

from megalabel.cli.arguments import Trust, trusting
from megalabel.cli.layout import width


def recipes(
    name: Annotated[str | None, typer.Argument(metavar="[RECIPE]", help="A recipe, to show its presets.")] = None,
    trust: Trust = None,
) -> None:
    """List the recipes, or the presets of one: data sets, values, and where the values come from."""
    with trusting(trust):
        lines = table() if name is None else presets(name)
    typer.echo("\n".join(lines))


def table() -> list[str]:
    """A line for each recipe: name, number of presets, what it is; for a broken one, why it cannot be loaded."""
    from megalabel.errors import MegalabelError
    from megalabel.recipes import listed
    from megalabel.recipes.presets import presets_of

    rows = [("recipe", "presets", "what it is")]
    for recipe in listed():
        try:
            count = "-" if recipe.function is None else str(len(presets_of(recipe.function)))
            rows.append((recipe.name, count, recipe.what))
        except MegalabelError as error:
            rows.append((recipe.name, "-", f"its presets cannot be read: {' '.join(str(error).split())}"))
    left = max(len(row[0]) for row in rows)
    return [f"{name:<{left}}  {count:>7}  {what}" for name, count, what in rows]


def presets(name: str) -> list[str]:
    """The presets of a recipe, each with its data sets, provenance and values."""
    import textwrap

    from megalabel.recipes import get
    from megalabel.recipes.presets import ANY, presets_of

    recipe = get(name)
    lines = [f"{recipe.address}: {(recipe.__doc__ or '').splitlines()[0]}"]
    for preset in presets_of(recipe):
        sets = "any data set" if preset.sets == (ANY,) else ", ".join(preset.sets)
        values = "  ".join(f"{option}={value}" for option, value in preset.arguments.items())
        lines += ["", sets, f"  source: {preset.origin}"]
        lines += textwrap.wrap(
            values, width(), initial_indent="  ", subsequent_indent="  ", break_on_hyphens=False
        )
    return lines
