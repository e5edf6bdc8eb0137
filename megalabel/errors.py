"""One tree of exceptions: every message holds what was found, what was wanted and the next step.

MegalabelError
├── DataError            a file or a value of the user's data is not what it should be
│   └── StaleTokens      a token store on disk was made from other texts or settings
├── SettingError         an argument is out of range, unknown, or does not fit another
├── FormatError          a folder that we wrote is damaged, incomplete or from another version
└── MissingExtra         an optional part is not installed
"""

from __future__ import annotations

from pathlib import Path


class MegalabelError(Exception):
    """What went wrong, said so that the reader can mend it.

    Args:
        found: what was there, with its value.
        wanted: what should have been there.
        next_step: what to do now, as an imperative.
        where: the file (and line) or the argument, if there is one.
    """

    def __init__(self, found: str, *, wanted: str, next_step: str, where: str | Path | None = None) -> None:
        self.found, self.wanted, self.next_step, self.where = found, wanted, next_step, where
        place = f"{where}: " if where is not None else ""
        super().__init__(f"{place}{found}; wanted {wanted}. Next step: {next_step}.")


class DataError(MegalabelError):
    """A file or a value of the user's data is not what it should be."""


class StaleTokens(DataError):
    """A token store on disk was made from other texts, another tokenizer or other settings."""


class SettingError(MegalabelError):
    """An argument is out of range, unknown, or does not fit another one."""


class FormatError(MegalabelError):
    """A folder that megalabel wrote is damaged, incomplete or from another version."""


class MissingExtra(MegalabelError):
    """An optional part is not installed."""


def line_of(path: str | Path, line: int) -> str:
    """The place of a data error, as messages show it; lines count from 1."""
    return f"{path}, line {line}"
