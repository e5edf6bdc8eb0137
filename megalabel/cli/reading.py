"""The options of how data are read, which every command that opens a data set has; `ReadOptions` declares them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megalabel.data.read_options import ReadOptions
from megalabel.errors import SettingError

if TYPE_CHECKING:
    from megalabel.data.findings import Finding

READ = tuple(option.name for option in fields(ReadOptions))
_OF_THE_SET: dict[str, dict[str, str]] = {
    "name": {
        "metavar": "NAME",
        "help": "Name of the data set, which selects presets and propensities; default: that of the folder.",
    },
    "propensity": {
        "metavar": "A,B",
        "help": "Constants of the propensity model; default: those of the data set.",
    },
}
NAMES = (*_OF_THE_SET, *READ)


def parameters(taken: Iterable[str] = (), *, hidden: bool = False) -> list[inspect.Parameter]:
    """The options as parameters of a command, without those whose name is taken by its own.

    They are hidden in the help of recipes, whose own options fill two screens; the argument DATA says where they
    are shown.
    """
    more: dict[str, Any] = {"rich_help_panel": "Reading", "hidden": hidden}
    return [
        inspect.Parameter(
            name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(**more, **shown)],
        )
        for name, shown in {**_OF_THE_SET, **{o.name: dict(o.metadata) for o in fields(ReadOptions)}}.items()
        if name not in set(taken)
    ]


def take(given: dict[str, Any], names: Iterable[str] = NAMES) -> dict[str, Any]:
    """Takes these options out of the arguments of a command, and returns those that are set."""
    taken = {name: given.pop(name) for name in names}
    if taken.get("propensity") is not None:
        taken["propensity"] = _numbers(taken["propensity"])
    return {name: value for name, value in taken.items() if value is not None}


def reads(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of reading, of which it gets those that are set as the argument `opened`."""
    own = inspect.signature(command, eval_str=True).parameters
    shown = [parameter for name, parameter in own.items() if name != "opened"]
    more = parameters()

    @functools.wraps(command)
    def reading(*arguments: Any, **given: Any) -> None:
        command(*arguments, opened=take(given), **given)

    del reading.__wrapped__
    reading.__signature__ = inspect.Signature([*shown, *more])  # type: ignore[attr-defined]
    reading.__annotations__ = {p.name: p.annotation for p in (*shown, *more)}
    return reading


def options_of(opened: Mapping[str, Any]) -> ReadOptions:
    """The options of reading among the arguments of `Corpus.open`."""
    return ReadOptions(**{name: value for name, value in opened.items() if name in READ})


def of_the_set(opened: Mapping[str, Any]) -> dict[str, Any]:
    """The name and the propensities among the arguments of `Corpus.open`."""
    return {name: value for name, value in opened.items() if name in _OF_THE_SET}


def _numbers(text: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise SettingError(
            f"{text!r} is not two numbers", wanted="A,B, such as 0.6,2.6", where="propensity"
        ) from None


def notes(findings: Iterable[Finding]) -> list[str]:
    """A line for each finding that training shows: what was guessed, and what a model will not see."""
    return [str(finding) for finding in findings if finding.notable]
