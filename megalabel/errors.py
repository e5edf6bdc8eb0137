"""The exceptions of megalabel: one tree, and messages that say what was found, what was expected and what to do.

MegalabelError
├── DataError            a file or a value of the user's data is not what it should be
│   └── StaleTokens      a token store on disk was made from other texts or settings
├── SettingError         an argument is out of range, unknown, or does not fit another
│   └── ResourceError    memory or open files do not suffice, or a process of a job is lost
├── FormatError          a folder that megalabel wrote is damaged, incomplete or from another version
└── MissingExtra         an optional part is not installed
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, ClassVar, Self

# The next step for a damaged folder; every reader of a saved folder uses this one text.
RESTORE_FOLDER = "copy the whole folder again from where it was made, or create it again"


class MegalabelError(Exception):
    """An error whose message is "{where}: {found}; expected {wanted}. {Next step}."

    Nothing is said twice: `where` is left out of the message where `found` begins with it, and `wanted` where
    `found` ends with it.

    Args:
        found: what was found, with its value.
        wanted: what was expected instead.
        next_step: what the reader can do now, as an imperative; None where the message already says it.
        where: the file (and line) or the name of the argument, if there is one.

    Attributes:
        exit_code: the exit status of a command that fails with this error.
        process: in a job of several processes, the number of the one in which the error was found; None for all.
        speaker: in such a job, the number of the process that prints the error; None for each one.
    """

    exit_code: ClassVar[int] = 2
    process: int | None = None
    speaker: int | None = None

    def __init__(
        self, found: str, *, wanted: str, next_step: str | None = None, where: str | Path | None = None
    ) -> None:
        self.found, self.wanted, self.next_step, self.where = found, wanted, next_step, where
        repeats = where is None or found == str(where) or found.startswith((f"{where} ", f"{where}:", f"{where}="))
        super().__init__(self.detail if repeats else f"{where}: {self.detail}")

    def __reduce__(self) -> tuple[Any, ...]:
        """Makes copies, and errors that another process has sent, with all values."""
        values: dict[str, Any] = {"wanted": self.wanted, "next_step": self.next_step, "where": self.where}
        return functools.partial(type(self), self.found, **values), (), vars(self)

    @property
    def detail(self) -> str:
        """The message without `where`."""
        text = self.found if self.found.endswith(self.wanted) else f"{self.found}; expected {self.wanted}"
        if self.next_step is None:
            return text
        end = "" if self.next_step.endswith("?") else "."
        return f"{text}. {self.next_step[:1].upper()}{self.next_step[1:]}{end}"


class DataError(MegalabelError):
    """A file or a value of the user's data is not what it should be."""


class StaleTokens(DataError):
    """A token store on disk was made from other texts, another tokenizer or other settings."""


class SettingError(MegalabelError):
    """An argument is out of range, unknown, or does not fit another one."""

    @classmethod
    def choice(cls, name: str, value: object, choices: Iterable[object], *, next_step: str | None = None) -> Self:
        """The error for a value that is not among the choices.

        >>> str(SettingError.choice("prune", "foo", ("threshold", "fraction", "none")))
        "prune: 'foo' is not one of threshold, fraction, none"
        """
        names = [str(choice) for choice in choices]
        wanted = f"one of {', '.join(names)}"
        close = [name for name in names if name.casefold() == str(value).casefold()]
        close = close or difflib.get_close_matches(str(value), names, n=1)
        if close and next_step is None:
            next_step = f"did you mean {close[0]}?"
        return cls(f"{value!r} is not {wanted}", wanted=wanted, next_step=next_step, where=name)

    @classmethod
    def range(
        cls,
        name: str,
        value: object,
        low: float | None = None,
        high: float | None = None,
        *,
        integer: bool = False,
        above: bool = False,
        below: bool = False,
        next_step: str | None = None,
    ) -> Self:
        """The error for a number outside its range.

        Args:
            name: the argument.
            value: what was given; it may be no number at all.
            low, high: the bounds, which are themselves allowed; None for no bound.
            integer: whether the value must be a whole number.
            above: whether `low` itself is excluded.
            below: whether `high` itself is excluded.
            next_step: as in `MegalabelError`.

        >>> str(SettingError.range("epochs", 0, 1, integer=True))
        'epochs: 0 is not a whole number of at least 1'
        >>> str(SettingError.range("dropout", 1.0, 0, 1, below=True))
        'dropout: 1.0 is not a number of at least 0 and below 1'
        """
        infinite = isinstance(value, float) and math.isinf(value)
        kind = "a whole number" if integer else "a finite number" if infinite else "a number"
        bounds = []
        if low is not None and high is not None and not above and not below:
            bounds.append(f"from {low:,} to {high:,}")
        else:
            if low is not None:
                bounds.append(f"above {low:,}" if above else f"of at least {low:,}")
            if high is not None:
                bounds.append(
                    f"below {high:,}" if below else f"of at most {high:,}" if not bounds else f"at most {high:,}"
                )
        wanted = " ".join([kind, " and ".join(bounds)]).strip()
        return cls(f"{value!r} is not {wanted}", wanted=wanted, next_step=next_step, where=name)


class FormatError(MegalabelError):
    """A folder that megalabel wrote is damaged, incomplete or from another version."""


class ResourceError(SettingError):
    """The machine, or a limit set for the process, has too little memory or too few open files."""


class MissingExtra(MegalabelError):
    """An optional part is not installed."""


def line_of(path: str | Path, line: int) -> str:
    """The place of a data error, as messages show it; lines count from 1."""
    return f"{path}, line {line}"


def of_type(value: object) -> str:
    """What a value is, by its type and with an article, as in "an int"."""
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeio' or name == 'ndarray' else 'a'} {name}"
