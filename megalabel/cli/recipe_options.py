"""A recipe as a command: an option of the command line for each of its options, with the same help and choices."""

from __future__ import annotations

import inspect
import tomllib
from collections.abc import Callable, Collection
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megalabel.cli import reading
from megalabel.cli.arguments import DataOfRun, DataSet, MaybeDataSet, complete
from megalabel.cli.layout import CONSTANTS, Command
from megalabel.errors import SettingError

if TYPE_CHECKING:
    from megalabel.training.option import Option
    from megalabel.training.options import Options

PANELS = (
    "Text", "Encoder", "Label tree", "Levels", "Connections", "Label layer", "Features", "Trees and solver",
    "Hybrid", "Chunks", "Search", "Optimization", "Training", "Validation", CONSTANTS,
)  # fmt: skip
OF_THE_COMMAND = (
    "out", "device", "threads", "memory", "checkpoint_seconds", "lr_scale", "quiet", "overwrite", "config", "then",
    "trust", "data", "from", "recipe",
)  # fmt: skip
NO_DEFAULT = inspect.Parameter.empty
METAVARS = {int: "INT", float: "FLOAT", str: "TEXT"}


def command_of(
    options: type[Options],
    doc: str,
    running: Callable[..., Any],
    act: Callable[..., None],
    without: Collection[str] = (),
    needs_data: bool = True,
) -> Any:
    """A function with the signature that Typer reads: the data, how to run, and the options of a recipe.

    Args:
        options: the options of the recipe. One called `run` is an argument, and the data may then be left out.
        doc: the description of the command.
        running: a function whose parameters are the options of the command itself.
        act: takes the data (None where left out), values by option name, how the data are read (`opened`), and the
            arguments of `running` by name.
        without: names of options of the recipe that the command does not have.
        needs_data: whether the data have to be given.
    """
    own = inspect.signature(running, eval_str=True).parameters
    on_a_run = "run" in options.declared
    data = _parameter("data", DataSet, NO_DEFAULT) if needs_data else _parameter("data", MaybeDataSet, None)
    parameters = [data]
    if on_a_run:
        run = typer.Argument(metavar="RUN", help=options.declared["run"].help)
        parameters = [_parameter("run", Annotated[str, run], NO_DEFAULT), _parameter("data", DataOfRun, None)]
    parameters += [_parameter(name, parameter.annotation, parameter.default) for name, parameter in own.items()]
    read = reading.parameters([*own, *options.declared], hidden=True)
    order = sorted(options.declared.values(), key=lambda option: _place(_panel(option)))
    parameters += [_as_parameter(option) for option in order if option.name not in ("run", *without)]
    parameters += read

    def command(**given: Any) -> None:
        data, how = given.pop("data"), {name: given.pop(name) for name in own}
        opened = reading.take(given, [parameter.name for parameter in read])
        values = {
            name: value if isinstance(value, bool) or name == "run" else options.declared[name].parse(value)
            for name, value in given.items()
            if value is not None
        }
        act(data, values, opened=opened, **how)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {p.name: p.annotation for p in parameters}
    command.__doc__ = doc
    return command


def as_command(name: str, function: Any) -> Any:
    """The command that Typer makes of such a function."""
    single = typer.Typer(rich_markup_mode=None, add_completion=False, pretty_exceptions_enable=False)
    single.command(name, cls=Command, context_settings={"help_option_names": ["-h", "--help"]})(function)
    return typer.main.get_command(single)


def read_config(path: Path, options: type[Options], recipe: str) -> dict[str, Any]:
    """The values in a TOML file whose keys are options; SettingError for a key that is none."""
    from megalabel.training.options import check_names

    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        step = "`megalabel train RECIPE DATA --print-config` prints such a file"
        if path.name == "recipe.json":
            step = f"repeat a run with `megalabel train --from {path.parent} --out OUT`"
        reason = "bytes that are not UTF-8" if isinstance(error, UnicodeDecodeError) else error
        raise SettingError(
            f"{path} is not TOML ({reason})",
            wanted="lines such as epochs = 3",
            next_step=step,
            where="config",
        ) from error
    table = next((name for name, value in values.items() if isinstance(value, dict)), None)
    if table is not None:
        raise SettingError(
            f"{path} holds the table [{table}]",
            wanted="options without a table, such as epochs = 3",
            next_step=f"remove the line [{table}]; a file is for one recipe",
            where="config",
        )
    own = [name for name in values if name in OF_THE_COMMAND and name not in options.declared]
    if own:
        flag = own[0].replace("_", "-")
        raise SettingError(
            f"{path} holds {own[0]!r}, which is not an option of the recipe",
            wanted="options of the recipe alone",
            next_step=f"give --{flag} on the command line",
            where="config",
        )
    try:
        check_names(values, options.declared, f"the recipe {recipe}")
        return options.checked_values(values)
    except SettingError as error:
        raise SettingError(
            error.found, wanted=error.wanted, next_step=error.next_step, where=f"{path}, {error.where}"
        ) from error


def _place(panel: str) -> int:
    return PANELS.index(panel) if panel in PANELS else PANELS.index("Optimization") - 1


def _panel(option: Option) -> str:
    return CONSTANTS if option.constant else option.panel


def _as_parameter(option: Option) -> inspect.Parameter:
    shown = option.shown()
    more = f"{'|'.join(map(str, option.choices))}, default {shown}" if option.choices else f"default {shown}"
    made: dict[str, Any] = {
        "help": shown if option.constant else f"{option.help} [{more}]",
        "rich_help_panel": _panel(option),
        "show_default": False,
    }
    if option.kind is bool and not option.several:
        flags = f"{option.flag}/--no-{option.flag[2:]}"
        return _parameter(option.name, Annotated[bool | None, typer.Option(flags, **made)], None)
    if option.choices:
        made["autocompletion"] = complete(option.choices)
    metavar = METAVARS[option.kind] + "S" * option.several
    if option.choices:
        metavar = "NAME" if option.kind is str else metavar
    return _parameter(option.name, Annotated[str | None, typer.Option(option.flag, metavar=metavar, **made)], None)


def _parameter(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
