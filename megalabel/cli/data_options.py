"""The options of every command that opens a data set: its name, its propensities, and what of a text is read."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Annotated, Any, NamedTuple

import typer

from megalabel.errors import SettingError

PANEL = "Data set"


class DataAddress(NamedTuple):
    """A data set as the command line names it: where it lies, and keyword arguments of `Corpus.open`."""

    path: str
    said: Mapping[str, Any] = MappingProxyType({})


def _option(flag: str, metavar: str, text: str) -> Any:
    return Annotated[str | None, typer.Option(flag, metavar=metavar, help=text, rich_help_panel=PANEL)]


OPTIONS: dict[str, Any] = {
    "name": _option(
        "--name", "NAME", "The name by which presets and propensities are found; by default that of the folder."
    ),
    "propensity": _option(
        "--propensity", "A,B", "Constants of the propensity model; by default those of the name."
    ),
    "text_parts": _option(
        "--text-parts", "NAME", "Of titles and contents: title, content, both; by default as the set is published."
    ),
    "text_separator": _option("--text-separator", "TEXT", "Between title and content; by default a space."),
}
"""Annotations by the name of the parameter, which is also that of `Corpus.open`."""


def parameters() -> list[inspect.Parameter]:
    """The options as parameters of a command."""
    kind = inspect.Parameter.KEYWORD_ONLY
    return [inspect.Parameter(name, kind, default=None, annotation=made) for name, made in OPTIONS.items()]


def said(given: dict[str, Any]) -> dict[str, Any]:
    """Takes the values of these options out of the arguments of a command: those that were given."""
    values = {name: given.pop(name) for name in OPTIONS}
    if values["propensity"] is not None:
        values["propensity"] = _numbers(values["propensity"])
    return {name: value for name, value in values.items() if value is not None}


def with_data_options(command: Callable[..., None]) -> Callable[..., None]:
    """A command with these options, which gets those that were given as the dictionary `said`."""
    own = inspect.signature(command, eval_str=True).parameters.values()
    kept = [parameter for parameter in own if parameter.name != "said"]

    @functools.wraps(command)
    def wrapped(**given: Any) -> None:
        command(said=said(given), **given)

    keyword = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in kept]
    together = [*keyword, *parameters()]
    wrapped.__signature__ = inspect.Signature(together)  # type: ignore[attr-defined]
    wrapped.__annotations__ = {p.name: p.annotation for p in together}
    del wrapped.__dict__["__wrapped__"]  # whose signature would be read instead
    return wrapped


def address(data: str | DataAddress, more: Mapping[str, Any] | None = None) -> DataAddress:
    """The address of a data set, with what else was said of it."""
    plain = data if isinstance(data, DataAddress) else DataAddress(data)
    return plain._replace(said={**plain.said, **(more or {})})


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingError(
            f"{text!r} is not two numbers", wanted="A,B, such as 0.6,2.6", where="propensity"
        ) from None
