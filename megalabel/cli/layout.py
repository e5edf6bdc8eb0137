"""Commands whose help is plain text in panels, one line per option, with every default and every choice."""

from __future__ import annotations

import re
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

from megalabel.cli.streams import of_several
from megalabel.cli.usage import no_command, one_line
from megalabel.errors import MegalabelError
from megalabel.storage.limits import out_of_files, too_many_files

WIDEST = 120
CONSTANTS = "Rarely changed"  # the panel that is a paragraph of names and defaults
LEFT = 36  # the most columns for names; a longer name has its help on the next line
# A word, with a value or without, that is neither quoted nor part of a path, a number or Python.
_OPTION = re.compile(
    r"(?<![\w'\"`./\\=-])(?P<name>[a-z][a-z_]*)(?: = (?P<value>'[^']*'|[\w.+-]+))?(?![\w=(\[{'\"`/\\]| \(--|\.\w)"
)


class Command(TyperCommand):
    """A command with such help; errors about an argument name the option of the command line."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes usage, description and the panels of options."""
        self.format_usage(ctx, formatter)
        write_paragraphs(formatter, self.help or "")
        panels: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            default = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panel = getattr(parameter, "rich_help_panel", None) or default
            if not getattr(parameter, "hidden", False):
                panels.setdefault(panel, []).append((_names(parameter), _help(parameter)))
        for title, rows in panels.items():
            if title == CONSTANTS:
                write_list(formatter, title, rows)
            else:
                write_rows(formatter, title, rows)

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Writes the line that the help begins with, and errors about arguments too."""
        arguments = [_names(p) for p in self.get_params(ctx) if p.param_type_name == "argument"]
        required = [_names(p).split(", ")[-1] for p in self.get_params(ctx) if _is_needed(p)]
        formatter.write(f"Usage: {ctx.command_path} {' '.join(['[OPTIONS]', *required, *arguments])}\n")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the arguments; SettingError for those that the command does not take."""
        with one_line(ctx, args):
            return super().parse_args(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs the command; an error about one of its options is shown with the option's name."""
        try:
            return super().invoke(ctx)
        except MegalabelError as found:
            fail(too_many_files(found.where) if out_of_files(found) else found, _flags(self))


class Group(TyperGroup):
    """A group of commands with such help."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Writes usage, description, options and commands."""
        self.format_usage(ctx, formatter)
        write_paragraphs(formatter, self.help or "")
        rows = [(_names(p), _help(p)) for p in self.get_params(ctx) if not getattr(p, "hidden", False)]
        write_rows(formatter, "Options", rows)
        write_rows(formatter, "Commands", self.command_rows(ctx))

    def format_usage(self, ctx: Any, formatter: Any) -> None:
        """Writes the line that the help begins with, and errors about arguments too."""
        formatter.write(f"Usage: {ctx.command_path} [OPTIONS] COMMAND\n")

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Reads the options of the group; SettingError for those that it does not have."""
        with one_line(ctx, args):
            return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """The command that is named first; SettingError if there is none of that name."""
        if not ctx.resilient_parsing and args and self.get_command(ctx, args[0]) is None:
            raise no_command(args[0], ctx)
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Runs the group's own function or a command; errors as those of `Command.invoke`."""
        try:
            return super().invoke(ctx)
        except MegalabelError as error:
            if out_of_files(error):
                raise
            fail(error, _flags(self))

    def command_rows(self, ctx: Any) -> list[tuple[str, str]]:
        """The names of the commands with a sentence on each."""
        rows = []
        for name in self.list_commands(ctx):
            command = self.get_command(ctx, name)
            if command is not None:
                rows.append((name, (command.help or "").split("\n\n")[0].replace("\n", " ").strip()))
        return rows


def _flags(command: Any) -> dict[str, str]:
    """How the command line writes the names of the options of a command."""
    found: dict[str, str] = {}
    for parameter in command.params:
        if parameter.opts and parameter.opts[0].startswith("--"):
            flag = parameter.opts[0]
            found |= {str(parameter.name): flag, flag.removeprefix("--").replace("-", "_"): flag}
    return found


def fail(error: MegalabelError, options: Mapping[str, str] | None = None) -> None:
    """Ends the program with the error on standard error and exit status 2.

    options: how the command line writes the names of arguments.
    """
    message = with_flags(error, options or {})
    if of_several():  # the processes have still to decide which of them prints it
        error.args = (message,)
        raise error
    sys.stderr.write(f"megalabel: {message}\n")
    raise typer.Exit(2)


def with_flags(error: MegalabelError, options: Mapping[str, str]) -> str:
    """The message of an error in which options are called as the command line writes them.

    Changed are the option that the message begins with, and later ones that are surely meant: `fan_in` becomes
    `--fan-in`, and `weights = float32` becomes `--weights float32`. What is quoted, part of a path or written as
    Python stays as it is, as do messages about files.
    """
    where, message, start = str(error.where), str(error), 0
    begins = (f"{where}: ", f"{where} = ", f"{where} ") if "_" in where else (f"{where}: ", f"{where} = ")
    if where in options and message.startswith(begins):
        message, start = options[where] + message[len(where) :], len(options[where])
    if where == "config" or (error.where is not None and where not in options):
        return message
    return message[:start] + _OPTION.sub(lambda found: _flag(found, options), message[start:])


def _flag(found: re.Match[str], options: Mapping[str, str]) -> str:
    """An option that a message names, as the command line writes it."""
    name, value = found["name"], found["value"]
    if name not in options or (value is None and "_" not in name):
        return found[0]
    if value in ("True", "False"):
        return options[name] if value == "True" else f"--no-{options[name][2:]}"
    return options[name] if value is None else f"{options[name]} {value}"


def width() -> int:
    """Columns of the terminal, 120 at most."""
    return max(60, min(shutil.get_terminal_size((WIDEST, 50)).columns, WIDEST))


def write_paragraphs(formatter: Any, text: str) -> None:
    """Writes a description, wrapped."""
    for paragraph in text.split("\n\n"):
        formatter.write("\n" + textwrap.fill(" ".join(paragraph.split()), width()) + "\n")


def write_rows(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    """Writes a panel: a title, and a line for each row, longer texts on more lines."""
    if not rows:
        return
    left = min(max(len(name) for name, _ in rows) + 2, LEFT)
    lines = ["", f"{title}:"]
    for name, text in rows:
        wrapped = textwrap.wrap(text, width() - left - 2, break_on_hyphens=False) or [""]
        if len(name) > left - 2:
            lines.append(f"  {name}")
        else:
            lines.append(f"  {name:<{left}}{wrapped.pop(0)}".rstrip())
        lines += [" " * (left + 2) + rest for rest in wrapped]
    formatter.write("\n".join(lines) + "\n")


def write_list(formatter: Any, title: str, rows: list[tuple[str, str]]) -> None:
    """Writes a panel as one paragraph: each option with its help, which is then its default alone."""
    shown = textwrap.wrap(
        ", ".join(f"{name.split()[0]}\N{NO-BREAK SPACE}{text}" for name, text in rows),
        width() - 2, break_on_hyphens=False, break_long_words=False,
    )  # fmt: skip
    lines = [
        "",
        f"{title}, with defaults:",
        *(f"  {line}".replace("\N{NO-BREAK SPACE}", " ") for line in shown),
    ]
    formatter.write("\n".join(lines) + "\n")


def _names(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return str(parameter.metavar or (parameter.name or "").upper())
    names = ", ".join(sorted(parameter.opts, key=len))
    if parameter.secondary_opts:
        names = names.replace("--", "--[no-]", 1)
    flag = getattr(parameter, "is_flag", False)
    return names if flag or not parameter.metavar else f"{names} {parameter.metavar}"


def _is_needed(parameter: Any) -> bool:
    """Whether it is an option without which the command cannot run."""
    return bool(getattr(parameter, "required", False)) and parameter.param_type_name == "option"


def _help(parameter: Any) -> str:
    text = getattr(parameter, "help", None) or ""
    if _is_needed(parameter):
        return f"{text} [required]"
    default = parameter.default
    plain = isinstance(default, (str, int, float)) and not callable(default)
    flag = isinstance(default, bool) and not parameter.secondary_opts
    if flag or getattr(parameter, "required", False) or not plain or not getattr(parameter, "show_default", True):
        return text
    shown = {True: "yes", False: "no"}.get(default, default) if isinstance(default, bool) else default
    return f"{text} [default {shown}]"
