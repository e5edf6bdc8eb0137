"""What reading a data set turned up: cosmetic trouble is noted, a real error stops or is collected."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from megalabel.errors import DataError, MegalabelError, line_of

Severity = Literal["error", "warning", "info"]
_ORDER: dict[str, int] = {"error": 0, "warning": 1, "info": 2}


@dataclass(frozen=True)
class Finding:
    """One kind of trouble in one file: the first place, and how often it was met.

    severity: `error` (reading stops there), `warning` (read, but look at it) or `info`.
    """

    severity: Severity
    where: str | None
    message: str
    count: int = 1

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        more = f" (and {self.count - 1:,} more like it)" if self.count > 1 else ""
        return f"{self.severity}: {place}{self.message}{more}"


class Findings:
    """Gathers findings while a reader runs.

    Args:
        collect: go on after an error that concerns one line (used by `check`); otherwise the first error
            is raised, which is what training wants.
    """

    def __init__(self, collect: bool = False) -> None:
        self.collect = collect
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
    ) -> None:
        """Trouble that was read all the same. Only the first of each (kind, file) is kept, with a count."""
        key = (severity, kind, str(file))
        known = self._first.get(key)
        if known is not None:
            self._first[key] = replace(known, count=known.count + count)
            return
        where = None if file is None else str(file) if line is None else line_of(file, line)
        self._first[key] = Finding(severity, where, message, count)

    def error(self, kind: str, file: str | Path, error: DataError, count: int = 1) -> None:
        """Trouble that must not be trained on: raised, or kept if this collects."""
        if not self.collect:
            raise error
        self.fatal(error, kind, file, count)

    def fatal(self, error: Exception, kind: str = "fatal", file: str | Path | None = None, count: int = 1) -> None:
        """Keeps an error that ended the reading."""
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

    def all(self) -> list[Finding]:
        """Everything, errors first."""
        return sorted(self._first.values(), key=lambda f: _ORDER[f.severity])
