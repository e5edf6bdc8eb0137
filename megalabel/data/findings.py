"""What reading a data set found: harmless irregularities are noted, and errors are raised or collected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from megalabel.data.read_options import ReadOptions
from megalabel.errors import DataError, MegalabelError, line_of

Severity = Literal["error", "warning", "info"]
MAX_ERRORS = 1_000_000  # after which reading stops: more of them tell nothing new
_ORDER: dict[str, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Finding:
    """One kind of irregularity in one file.

    Attributes:
        severity: `error` (the data cannot be trained on), `warning` (it can, but should be looked at) or `info`.
        where: the file (and line) where it was first found.
        message: what was found.
        count: how often it was found.
        notable: whether it says how the data were understood or what a model will not see, so that training shows
            it too; every guess of a reader is notable.
    """

    severity: Severity
    where: str | None
    message: str
    count: int = 1
    notable: bool = False

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        more = f" (and {self.count - 1:,} more like it)" if self.count > 1 else ""
        return f"{self.severity}: {place}{self.message}{more}"


class Findings:
    """Collects findings while a data set is read.

    Args:
        collect: whether to continue after an error that concerns one line, as `check` does; otherwise the first
            error is raised, as training needs.
        options: how the files are to be read; every reader finds it here.
        known: label names that the data probably have, such as those of a model that is measured on them. They
            help to find what separates the labels of a cell.
        measured: whether the data are test texts alone, which messages must not call training texts.
    """

    def __init__(
        self,
        collect: bool = False,
        options: ReadOptions | None = None,
        known: Iterable[str] = (),
        measured: bool = False,
    ) -> None:
        self.collect, self.measured = collect, measured
        self.known = frozenset(known)
        self.options = options or ReadOptions()
        self._n_errors = 0
        self._first: dict[tuple[str, str, str], Finding] = {}

    def note(
        self,
        kind: str,
        file: str | Path | None,
        message: str,
        *,
        line: int | None = None,
        count: int = 1,
        severity: Severity = "warning",
        notable: bool = False,
    ) -> None:
        """Notes an irregularity that does not stop reading. The first per kind and file is kept, with a count."""
        key = (severity, kind, str(file))
        known = self._first.get(key)
        if known is not None:
            self._first[key] = replace(known, count=known.count + count)
            return
        where = None if file is None else str(file) if line is None else line_of(file, line)
        self._first[key] = Finding(severity, where, message, count, notable)

    def error(self, kind: str, file: str | Path, error: DataError, count: int = 1) -> None:
        """Raises an error in the data, or keeps it if errors are collected, up to `MAX_ERRORS` of them."""
        if not self.collect:
            raise error
        self.fatal(error, kind, file, count)
        self._n_errors += count
        if self._n_errors > MAX_ERRORS:
            raise DataError(
                f"more than {MAX_ERRORS:,} errors",
                wanted="data that are mostly right",
                next_step="check that this is the right file; the rest of it was not read",
                where=file,
            )

    def fatal(self, error: Exception, kind: str = "fatal", file: str | Path | None = None, count: int = 1) -> None:
        """Keeps an error, for example one that ended the reading."""
        message = error.detail if isinstance(error, MegalabelError) else str(error)
        key = ("error", kind, str(file))
        known = self._first.get(key)
        if known is not None:
            self._first[key] = replace(known, count=known.count + count)
            return
        where = getattr(error, "where", None)
        self._first[key] = Finding("error", None if where is None else str(where), message, count)

    def has_error(self, file: str | Path) -> bool:
        """Whether an error in this file was kept."""
        return any(severity == "error" and name == str(file) for severity, _, name in self._first)

    def taken(self) -> tuple[str, ...]:
        """What was chosen where the data allow a choice: the messages of the kinds `taken-…`."""
        found = [f for (_, kind, _), f in self._first.items() if kind.startswith("taken-")]
        return tuple(str(replace(f, severity="info", where=None)).removeprefix("info: ") for f in found)

    def all(self) -> list[Finding]:
        """All findings, errors first."""
        return sorted(self._first.values(), key=lambda f: _ORDER[f.severity])
