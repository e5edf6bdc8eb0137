"""One option: its type, range or choices, default and help, read from an annotated field; checks of values."""

from __future__ import annotations

import math
import numbers
import os
import re
import types
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Protocol, Union, get_args, get_origin, runtime_checkable

from megalabel.errors import SettingError

REQUIRED: Any = type("Required", (), {"__repr__": lambda self: "REQUIRED"})()
KINDS: dict[type, tuple[type, str]] = {
    str: (str, "text"),
    bool: (bool, "True or False"),
    int: (numbers.Integral, "a whole number"),
    float: (numbers.Real, "a number"),
}


@runtime_checkable
class Check(Protocol):
    """What a value of an option must satisfy beside its type; further ones may be written."""

    def fits(self, value: Any) -> bool:
        """Whether a value of the right type satisfies it."""

    def wanted(self, kind: str) -> str:
        """The values that do, in words, of a `kind` such as "a whole number"."""


@dataclass(frozen=True)
class Range:
    """The numbers from `low` to `high`; `above` and `below` exclude the bound itself."""

    low: float = -math.inf
    high: float = math.inf
    above: bool = False
    below: bool = False

    def fits(self, value: Any) -> bool:
        """Whether a finite number lies in the range."""
        low = value > self.low if self.above else value >= self.low
        return bool(low and (value < self.high if self.below else value <= self.high))

    def wanted(self, kind: str) -> str:
        """The range in words, after what kind of number it is of."""
        low, high = (f"{bound:,.12g}" for bound in (self.low, self.high))
        parts = []
        if self.low > -math.inf:
            parts.append(f"above {low}" if self.above else f"of at least {low}")
        if self.high < math.inf:
            parts.append(f"below {high}" if self.below else f"at most {high}")
        return f"{kind} {' and '.join(parts)}".rstrip()


@dataclass(frozen=True)
class Matches:
    """The texts that a regular expression matches whole; `meaning` says which in words."""

    pattern: str
    meaning: str

    def fits(self, value: Any) -> bool:
        """Whether the expression matches the whole text."""
        return re.fullmatch(self.pattern, value) is not None

    def wanted(self, kind: str) -> str:
        """Which texts match."""
        return self.meaning


@dataclass(frozen=True)
class PowerOfTwo:
    """The powers of two from 2 to 2^30."""

    def fits(self, value: Any) -> bool:
        """Whether a whole number is one of them."""
        return bool(2 <= value <= 2**30 and value & (value - 1) == 0)

    def wanted(self, kind: str) -> str:
        """Which they are."""
        return "a power of two from 2 to 2^30"


def at_least(low: float) -> Range:
    """Numbers from `low` up."""
    return Range(low)


def above(low: float) -> Range:
    """Numbers greater than `low`."""
    return Range(low, above=True)


def between(low: float, high: float) -> Range:
    """Numbers from `low` to `high`, both included."""
    return Range(low, high)


FRACTION = Range(0, 1, below=True)


@dataclass(frozen=True)
class Unset:
    """How `--help` calls a default of None or (), such as "by number of labels"."""

    meaning: str


@dataclass(frozen=True)
class Option:
    """An option of a recipe.

    Attributes:
        name: the name in Python and in recipe.json; the command line writes hyphens for underscores.
        hint: the annotation that it was read from.
        kind: str, bool, int or float; of each item where there may be several.
        several: whether a value is a tuple.
        optional: whether None is a value.
        choices: the values that are allowed, () for no such limit.
        checks: what a value must further satisfy.
        default: the value where none is given; REQUIRED for none.
        unset: what a default of None or () means.
        help: one sentence.
        panel: the heading in `--help`.
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

    @property
    def flag(self) -> str:
        """The name on the command line."""
        return "--" + self.name.replace("_", "-")

    def check(self, value: Any) -> Any:
        """The value as plain Python; text is read as numbers where numbers are wanted; SettingError if it is none.

        Several values may come as a list, a tuple, or as text with commas between.
        """
        if value is None and self.optional:
            return None
        if not self.several:
            return self._item(value)
        items = value
        if isinstance(value, str):
            items = [self._from_text(part.strip()) for part in value.split(",") if part.strip()]
        if not isinstance(items, (list, tuple)) or (isinstance(value, str) and not items):
            raise self._refusal(value, "a list of values with commas between")
        return tuple(self._item(item) for item in items)

    def parse(self, text: str) -> Any:
        """The value that a text of the command line stands for; "none" for None where that is a value."""
        if self.optional and text == "none" and text not in self.choices:
            return None
        return self.check(text if self.several else self._from_text(text))

    def shown(self, value: Any = REQUIRED) -> str:
        """A value, by default the default, as one would type it; what None and () stand for in words."""
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
            value = value.item()  # numpy's numbers, which are no JSON
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
        return text  # which `_item` judges and names

    def _refusal(self, value: Any, wanted: str) -> SettingError:
        return SettingError(f"{value!r} is not {wanted}", wanted=wanted, where=self.name)


def read_option(name: str, hint: Any, default: Any, panel: str, of: str) -> Option:
    """The option that a field declares; SettingError for a type that options cannot have, or no help.

    Args:
        name: of the field.
        hint: its annotation: a type in `Annotated[type, checks..., "Help."]`.
        default: REQUIRED where the field has none.
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
    return Option(name, hint, kind, several, optional, choices, checks, default, unset, texts[-1], panel)


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
