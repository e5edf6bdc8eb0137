"""`megalabel train`: a command for each recipe, by name or address; `--from` repeats the job of a run."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from megalabel.cli.arguments import Device, Threads, Trust, open_data, open_data_of, trusting
from megalabel.cli.layout import Group
from megalabel.cli.recipe_options import as_command, command_of, read_config
from megalabel.cli.tune import AUTO, search_command
from megalabel.errors import MegalabelError, SettingError

Out = Annotated[Path | None, typer.Option("--out", "-o", metavar="OUT", help="The run folder to write.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a finished or different run in OUT.")]
CheckpointSeconds = Annotated[float, typer.Option(metavar="FLOAT", help="Seconds between checkpoints.")]
LrScale = Annotated[
    float | None,
    typer.Option(metavar="FLOAT", help="Factor for all learning rates when a run resumes, such as 0.1."),
]
Memory = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE",
        help="Memory that the training may take, such as 8GiB; chooses micro-batches and checkpointing.",
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print nothing while training.")]
Config = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="TOML file with option values; the command line takes precedence."),
]
PrintConfig = Annotated[bool, typer.Option("--print-config", help="Print all values as TOML, and train nothing.")]
Then = Annotated[
    str | None,
    typer.Option(metavar="RECIPE", help="Then train a recipe (hybrid) on this run, kept in OUT/base."),
]
Track = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME", help="Also log to tensorboard, mlflow, wandb or trackio; repeatable."),
]
ABOUT = """
Option values are taken from the command line, then --config, then the preset for the data set, then the defaults
of the paper, which are shown. The same command resumes an interrupted run.
"""


class RecipeGroup(Group):
    """The recipes as commands, each imported when it is called for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names of the recipes."""
        from megalabel.recipes.find import declared, names

        return [AUTO, *names(), *declared()]

    def command_rows(self, ctx: Any) -> list[tuple[str, str]]:
        """The names of the recipes with a sentence on each, or why it cannot be loaded."""
        from megalabel.recipes import listed

        rows = [(recipe.name, recipe.what) for recipe in listed()]
        return [
            (AUTO, "Search over recipes, encoders and options within a given time."),
            *rows,
            ("PACKAGE.MODULE:RECIPE", "A recipe of your own; needs --trust PACKAGE."),
        ]

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command of a recipe; `--trust` among its arguments allows the import of its package."""
        given = [p.opts[0] for p in self.params if _is_given(ctx, str(p.name))]
        if given and not ctx.resilient_parsing:
            raise SettingError(
                f"{', '.join(given)} before the name of the recipe",
                wanted=f"megalabel train {args[0]} … with the options after the name; --from takes no recipe",
                where="train",
            )
        with trusting(_trusted_in(args)):
            try:
                command = self.get_command(ctx, args[0])
            except SettingError as error:
                raise _swapped(error, ctx, args) from error
        return args[0], command, args[1:]

    def get_command(self, ctx: Any, name: str) -> Any:
        """The command of a recipe by name or address; SettingError if there is no such recipe."""
        from megalabel.recipes import get

        if name == AUTO:
            return search_command(AUTO, None)
        try:
            recipe = get(name)
        except MegalabelError:
            if ctx.resilient_parsing:  # of shell completion
                return None
            raise
        return self.command(name, recipe)

    def command(self, name: str, recipe: Any) -> Any:
        """The command of a recipe, as Typer makes it."""
        doc = f"{first_line(recipe, name)}\n{ABOUT}"
        return as_command(name, command_of(recipe.options, doc, running, functools.partial(_train, recipe)))


def first_line(recipe: Any, name: str) -> str:
    """The first line of the docstring of a recipe; its name without one."""
    return str(recipe.__doc__.splitlines()[0]) if recipe.__doc__ else name


def start(
    ctx: typer.Context,
    source: Annotated[
        Path | None,
        typer.Option("--from", metavar="RUN", help="Repeat the job of a run folder or its recipe.json."),
    ] = None,
    out: Out = None,
    overwrite: Overwrite = False,
    trust: Trust = None,
    device: Device = None,
    threads: Threads = None,
    checkpoint_seconds: CheckpointSeconds = 300.0,
    lr_scale: LrScale = None,
    quiet: Quiet = False,
) -> None:
    """Train a recipe on a data set. `megalabel train RECIPE --help` shows the options of a recipe.

    With --from, the recipe, the values of its options and the data set are those of another run.
    """
    if ctx.invoked_subcommand is not None:
        return
    if source is None:
        typer.echo(ctx.get_help())
        raise typer.Exit(2)
    from megalabel.cli.jobs import repeat
    from megalabel.cli.run_settings import RunSettings

    with trusting(trust):
        repeat(source, _needed(out), RunSettings(device, threads, checkpoint_seconds, quiet, overwrite, lr_scale))


app = typer.Typer(cls=RecipeGroup, rich_markup_mode=None, invoke_without_command=True, callback=start)


def running(
    out: Out = None,
    device: Device = None,
    threads: Threads = None,
    memory: Memory = None,
    checkpoint_seconds: CheckpointSeconds = 300.0,
    lr_scale: LrScale = None,
    quiet: Quiet = False,
    overwrite: Overwrite = False,
    config: Config = None,
    print_config: PrintConfig = False,
    then: Then = None,
    track: Track = None,
    trust: Trust = None,
) -> None:
    """The options of every command of a recipe beside those of the recipe."""


def _train(
    recipe: Any,
    data: str | None,
    values: dict[str, Any],
    *,
    opened: dict[str, Any],
    out: Path | None,
    device: str | None,
    threads: int | None,
    memory: str | None,
    checkpoint_seconds: float,
    lr_scale: float | None,
    quiet: bool,
    overwrite: bool,
    config: Path | None,
    print_config: bool,
    then: str | None,
    track: Sequence[str] | None,
    trust: Sequence[str] | None,
) -> None:
    from megalabel.cli.jobs import train, train_then
    from megalabel.cli.run_settings import RunSettings
    from megalabel.planning.amounts import size
    from megalabel.recipes.presets import resolve
    from megalabel.training.trackers import check_tracked

    if config is not None:
        values = {**read_config(config, recipe.options, recipe.address), **values}
    recipe.options.checked_values(values)
    limit = None if memory is None else size("memory", memory)
    target = None if print_config else _needed(out)
    check_tracked(track or (), recipe)
    corpus = open_data_of(values["run"], data, opened) if "run" in values else open_data(str(data), opened)
    if target is None:
        from megalabel.recipes.config import as_config

        resolved = resolve(recipe, corpus.name, values)
        origin = resolved.preset.origin if resolved.preset else "no preset fits"
        typer.echo(f"# {recipe.address} on {corpus.name}; preset: {origin}\n{as_config(resolved.options)}")
        return
    track = tuple(dict.fromkeys(track or ()))
    settings = RunSettings(device, threads, checkpoint_seconds, quiet, overwrite, lr_scale, limit, track)
    with trusting(trust):
        if then is None:
            train(recipe, corpus, target, values, settings)
        else:
            train_then(recipe, corpus, target, values, then, settings)


def _needed(out: Path | None) -> Path:
    if out is None:
        raise SettingError("no run folder is named", wanted="--out OUT, such as --out runs/first", where="out")
    return out


def _is_given(ctx: Any, name: str) -> bool:
    """Whether the command line, and no default, gives a parameter its value."""
    source = ctx.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _swapped(error: SettingError, ctx: Any, args: Sequence[str]) -> SettingError:
    """The error for an unknown recipe; where a recipe follows, it says that the recipe comes first."""
    from megalabel.recipes.find import names

    if args[0] == "help":
        return SettingError(
            "'help' is not a recipe", wanted="a recipe", next_step=f"write `{ctx.command_path} --help`"
        )
    later = next((arg for arg in args[1:] if arg in names()), None)
    if error.where != "recipe" or ":" in args[0] or later is None:
        return error
    return SettingError(
        error.found,
        wanted=error.wanted,
        next_step=f"name the recipe first: {ctx.command_path} {later} {args[0]}",
        where="recipe",
    )


def _trusted_in(args: Sequence[str]) -> list[str]:
    """The packages that `--trust` names among the arguments of a command that is not parsed yet."""
    found = [arg.partition("=")[2] for arg in args if arg.startswith("--trust=")]
    return found + [value for flag, value in itertools.pairwise(args) if flag == "--trust"]
