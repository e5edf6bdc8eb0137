"""The group of commands `megalabel tune RECIPE`."""

from __future__ import annotations

from typing import Any

import typer

from megalabel.cli.train import RecipeGroup
from megalabel.cli.tune import search_command


class TuneGroup(RecipeGroup):
    """The recipes as commands that search over their options; `auto` searches over recipes."""

    def command(self, name: str, recipe: Any) -> Any:
        """The command of a recipe, as Typer makes it."""
        return search_command(name, recipe)


def start() -> None:
    """Search for good values of a recipe's options, or of recipes (auto), within a given time."""


app = typer.Typer(cls=TuneGroup, rich_markup_mode=None, no_args_is_help=True, callback=start)
