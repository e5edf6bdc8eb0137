"""Mistakes in how a command is written, as one line: unknown options and commands, missing and unusable values."""

from __future__ import annotations

import contextlib
import difflib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import typer

from megalabel.errors import SettingError

UsageError: type[Exception] = typer.BadParameter.__mro__[1]  # which Typer does not export
# What other tools call the options, where no similar name would be found.
OTHER_NAMES = {
    "--top-k": ("--k",),
    "--topk": ("--k",),
    "--output": ("--out",),
    "--output-dir": ("--out",),
    "--force": ("--overwrite",),
    "--gpu": ("--device",),
    "--cuda": ("--device",),
    "--resume": ("--out",),
    "--lr": ("--head-lr", "--encoder-lr"),
    "--learning-rate": ("--head-lr", "--encoder-lr"),
    "--model": ("--encoder",),
}


@contextlib.contextmanager
def one_line(ctx: Any, args: Sequence[str]) -> Iterator[None]:
    """Raises what Typer refuses within the block as a SettingError, and after it one for an empty value."""
    given = list(args)
    try:
        yield
    except UsageError as error:
        if ctx.resilient_parsing or type(error).__name__ == "NoArgsIsHelpError":
            raise
        raise _error(error, ctx, given) from error
    if not ctx.resilient_parsing:
        _refuse_empty(ctx, given)


def usage_of(ctx: Any) -> str:
    """How the command of a context is written, such as "megalabel predict [OPTIONS] RUN [TEXTS]"."""
    return str(ctx.command.get_usage(ctx)).strip().removeprefix("Usage: ")


def no_command(name: str, ctx: Any) -> SettingError:
    """The error for a command that a group does not have."""
    known = ctx.command.list_commands(ctx)
    close = difflib.get_close_matches(name, known, n=1)
    step = f"did you mean {close[0]}? " if close else ""
    step += f"The commands are {', '.join(known)}"
    if name in ("help", "version") and ctx.parent is None:
        step = f"write `{ctx.command_path} --{name}`"
    return _not_of("a command", repr(name), ctx, step)


def _error(error: Any, ctx: Any, args: Sequence[str]) -> SettingError:
    kind, parameter = type(error).__name__, getattr(error, "param", None)
    message, step = error.format_message().rstrip("."), _see(ctx)
    if kind == "NoSuchOption":
        return _no_option(str(error.option_name), ctx)
    if kind == "MissingParameter" and parameter is not None:
        name = parameter.opts[0] if parameter.param_type_name == "option" else _shown(parameter)
        return SettingError(f"no {name} is given", wanted=usage_of(ctx), next_step=step)
    if kind == "BadParameter" and parameter is not None:
        value = _given(parameter, args)
        wanted = "a whole number" if "integer" in message else "a number"
        if value is not None and ("integer" in message or "number" in message or "float" in message):
            return SettingError(
                f"{value!r} is not {wanted}", wanted=wanted, next_step=step, where=parameter.opts[0]
            )
    dash = next((arg for arg in args if arg[:1] in ("\u2013", "\u2014")), None)
    if dash is not None:
        return SettingError(
            f"{dash!r} begins with a dash, not with hyphens",
            wanted=f"--{dash[1:]}",
            next_step="type the two hyphens again: a text program has replaced them",
        )
    extra = re.search(r"unexpected extra arguments? ?(?:\(s\))? ?\((.*)\)", message)
    if extra:
        return SettingError(
            f"{extra[1]!r} is more than the command takes",
            wanted=usage_of(ctx),
            next_step="put quotes around what holds blanks, and commas between several values of an option, as "
            "in 1,3,5; options such as --bias take no value",
        )
    return SettingError(message[:1].lower() + message[1:], wanted=usage_of(ctx), next_step=step)


def _refuse_empty(ctx: Any, args: Sequence[str]) -> None:
    """SettingError for an empty value, which mostly is an unset variable of the shell; a path would become `.`."""
    for parameter in ctx.command.params:
        option = parameter.param_type_name == "option" and not getattr(parameter, "is_flag", False)
        value = _given(parameter, args) if option else ctx.params.get(parameter.name)
        empty = "" in value if isinstance(value, (list, tuple)) else value == ""
        if empty or (not option and value == Path() and "" in args):
            raise SettingError(
                "an empty value",
                wanted="a value that is not empty",
                next_step="leave it out, or check the shell variable that stands in its place",
                where=parameter.opts[0] if option else _shown(parameter).strip("[]"),
            )


def _no_option(name: str, ctx: Any) -> SettingError:
    known = [flag for p in ctx.command.get_params(ctx) for flag in p.opts if flag.startswith("--")]
    in_train = ctx.parent is not None and ctx.parent.info_name == "train"
    close = [flag for flag in OTHER_NAMES.get(name, ()) if flag in known]
    if not close and len(name) == 2:
        close = [flag for flag in known if flag[2] == name[1]][:3]
    elif not close:
        close = difflib.get_close_matches(name, known, n=2, cutoff=0.7)
    if name == "--from" and in_train:
        step = f"write `{ctx.parent.command_path} --from RUN --out OUT`, without a recipe"
    elif ctx.info_name == "train" and _recipes_with(name):
        step = "name the recipe before its options; with --from, all values are those of the run"
    elif close:
        step = f"did you mean {' or '.join(close)}? {_see(ctx).capitalize()}"
    elif in_train and (others := _recipes_with(name)):
        step = "leave it out, or take a recipe that has it: " + ", ".join(others)
    else:
        step = _see(ctx)
    return _not_of("an option", name, ctx, step)


def _not_of(kind: str, name: str, ctx: Any, step: str) -> SettingError:
    wanted = f"{kind} of {ctx.command_path}"
    return SettingError(f"{name} is not {wanted}", wanted=wanted, next_step=step)


def _see(ctx: Any) -> str:
    return f"see `{ctx.command_path} --help`"


def _recipes_with(flag: str) -> list[str]:
    """The recipes with an option of this name or a very similar one."""
    from megalabel.recipes import listed

    name = flag.removeprefix("--").replace("-", "_")
    return [
        recipe.name
        for recipe in listed()
        if recipe.function and difflib.get_close_matches(name, recipe.function.options.declared, n=1, cutoff=0.9)
    ]


def _shown(parameter: Any) -> str:
    return str(parameter.metavar or parameter.name.upper())


def _given(parameter: Any, args: Sequence[str]) -> str | None:
    """The text that the command line gives an option, None where it is not found."""
    for i, arg in enumerate(args):
        for flag in parameter.opts:
            if arg == flag and i + 1 < len(args):
                return args[i + 1]
            if arg.startswith(f"{flag}=") or (len(flag) == 2 and arg.startswith(flag) and arg != flag):
                return arg[len(flag) :].removeprefix("=")
    return None
