"""One option: its type, range or choices, default and help, read from an annotated field; checks of values."""

from __future__ import annotations

import math
import numbers
import os
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from megalabel.errors import SettingError
from megalabel.training.ranges import Check

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()
KINDS: dict[type, tuple[type, str]] = {
    str: (str, "text"),
    bool: (bool, "True or False"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
}


@dataclass(frozen=True)
class Unset:
    """The text that `--help` shows for a default of None or (), such as "by number of labels"."""

    meaning: str


class Constant:
    """Marks an option that is rarely changed: `--help` lists it in a paragraph of names and defaults."""


@dataclass(frozen=True)
class Option:
    """An option of a recipe.

    Attributes:
        name: the name in Python and in recipe.json; the command line uses hyphens for underscores.
        hint: the annotation of the field.
        kind: str, bool, int or float; the type of the items if `several`.
        several: whether a value is a tuple.
        optional: whether None is allowed.
        choices: the allowed values, () for no such limit.
        checks: further conditions on a value.
        default: the default value; REQUIRED if there is none.
        unset: the meaning of a default of None or ().
        help: one sentence.
        panel: the heading in `--help`.
        constant: whether it is marked `Constant`.
    """

    name: str
    hint: Any
    kind: type
    several: bool
    optional: bool
    choices: tuple[Any, ...]
    checks: tuple[Check, ...]
    default: Any
    unset: str
    help: str
    panel: str
    constant: bool = False

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return "--" + self.name.replace("_", "-")

    def check(self, value: Any) -> Any:
        """The value as plain Python, with text parsed as numbers if needed; SettingError if it is invalid.

        Several values may be a list, a tuple, or text with commas.
        """
        if value is None and self.optional:
            return None
        if not self.several:
            return self._item(value)
        items = value
        if isinstance(value, str):
            items = [self._from_text(part.strip()) for part in value.split(",") if part.strip()]
        if not isinstance(items, (list, tuple)) or (isinstance(value, str) and not items):
            raise self._refusal(value, "a list of values, as in [4, 8], or text with commas between them")
        if isinstance(value, str) and len(items) == 1 and isinstance(items[0], str) and not self.choices:
            if self.kind in (int, float):  # such as "4;8" or "4 8"
                raise self._refusal(value, f"{KINDS[self.kind][1]}, or several with commas between")
        return tuple(self._item(item) for item in items)

    def parse(self, text: str) -> Any:
        """Parses the text of a command-line argument; "none" is None if that is allowed."""
        if self.optional and text == "none" and text not in self.choices:
            return None
        return self.check(text if self.several else self._from_text(text))

    def shown(self, value: Any = REQUIRED) -> str:
        """A value, by default the default, as typed on the command line; for None and (), the text of `unset`."""
        value = self.default if value is REQUIRED else value
        if value is REQUIRED:
            return "required"
        if value is None or value == ():
            return self.unset or "none"
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, tuple):
            return ",".join(_shortest(item) for item in value)
        return _shortest(value)

    def _item(self, given: Any) -> Any:
        value = given
        if hasattr(value, "item") and getattr(value, "ndim", 1) == 0:
            value = value.item()  # numbers of numpy, which JSON does not support
        if isinstance(value, os.PathLike) and self.kind is str:
            value = os.fspath(value)
        if isinstance(value, bool) and {"yes", "no"} <= set(self.choices):
            value = "yes" if value else "no"
        if self.choices:
            if isinstance(value, bool) or value not in self.choices:
                raise SettingError.choice(self.name, given, self.choices)
            return value
        wanted_type, wanted = KINDS[self.kind]
        wanted = self.checks[0].wanted(wanted) if self.checks else wanted
        fits = isinstance(value, wanted_type) and (self.kind is bool or not isinstance(value, bool))
        if fits and self.kind in (int, float):
            fits = math.isfinite(value)
        if not (fits and all(check.fits(value) for check in self.checks)):
            raise self._refusal(given, wanted)
        return value

    def _from_text(self, text: str) -> Any:
        for kind in (int, float):
            if self.kind in (int, float) and (self.kind is float or kind is int):
                try:
                    return kind(text)
                except ValueError:
                    continue
        return text  # `_item` checks it and names it in the error

    def _refusal(self, value: Any, wanted: str) -> SettingError:
        return SettingError(f"{value!r} is not {wanted}", wanted=wanted, where=self.name)


def read_option(name: str, hint: Any, default: Any, panel: str, of: str) -> Option:
    """Reads an option from a field; SettingError if its type is not supported or it has no help.

    Args:
        name: the name of the field.
        hint: the annotation, `Annotated[type, checks..., "Help."]`.
        default: the default of the field, or REQUIRED.
        panel: the heading in `--help`.
        of: the name of the class, for messages.
    """
    extras: list[Any] = []
    inner, several, optional = _unwrapped(hint, extras), False, False
    if get_origin(inner) in (Union, types.UnionType):
        rest = [part for part in get_args(inner) if part is not type(None)]
        optional, inner = (
            len(rest) < len(get_args(inner)),
            _unwrapped(rest[0], extras) if len(rest) == 1 else inner,
        )
    if get_origin(inner) is tuple and len(get_args(inner)) == 2 and get_args(inner)[1] is Ellipsis:
        several, inner = True, _unwrapped(get_args(inner)[0], extras)
    choices = get_args(inner) if get_origin(inner) is Literal else ()
    kind: Any = type(choices[0]) if choices else inner
    texts = [extra for extra in extras if isinstance(extra, str)]
    if kind not in KINDS or not texts:
        raise SettingError(
            f"the option {name} of {of} has the annotation {hint}",
            wanted='Annotated[type, "Help."] with str, bool, int, float, Literal, a tuple of these, or one | None',
            next_step="correct the annotation",
            where=name,
        )
    unset = next((extra.meaning for extra in extras if isinstance(extra, Unset)), "")
    checks = tuple(extra for extra in extras if isinstance(extra, Check))
    constant = any(extra is Constant for extra in extras)
    return Option(name, hint, kind, several, optional, choices, checks, default, unset, texts[-1], panel, constant)


def _unwrapped(hint: Any, extras: list[Any]) -> Any:
    """The type inside `Annotated`, whose further arguments are added to `extras`."""
    if get_origin(hint) is not Annotated:
        return hint
    inner, *more = get_args(hint)
    inner = _unwrapped(inner, extras)
    extras += more
    return inner


def _shortest(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
