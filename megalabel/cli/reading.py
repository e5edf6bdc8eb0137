"""The options of how data are read, which every command that opens a data set has; `ReadOptions` declares them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Annotated, Any

import typer

from megalabel.data.read_options import ReadOptions

if TYPE_CHECKING:
    from megalabel.data.findings import Finding

NAMES = tuple(option.name for option in fields(ReadOptions))


def parameters(taken: Iterable[str] = (), *, hidden: bool = False) -> list[inspect.Parameter]:
    """The options as parameters of a command, without those whose name is taken by its own.

    They are hidden in the help of recipes, whose own options fill two screens; the argument DATA says where they
    are shown.
    """
    more: dict[str, Any] = {"rich_help_panel": "Reading", "hidden": hidden}
    return [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=None,
            annotation=Annotated[str | None, typer.Option(**more, **option.metadata)],
        )
        for option in fields(ReadOptions)
        if option.name not in set(taken)
    ]


def take(given: dict[str, Any], names: Iterable[str] = NAMES) -> dict[str, Any]:
    """Takes these options out of the arguments of a command, and returns those that are set."""
    taken = {name: given.pop(name) for name in names}
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
    return ReadOptions(**{name: value for name, value in opened.items() if name in NAMES})


def notes(findings: Iterable[Finding]) -> list[str]:
    """A line for each finding that training shows: what was guessed, and what a model will not see."""
    return [str(finding) for finding in findings if finding.notable]
