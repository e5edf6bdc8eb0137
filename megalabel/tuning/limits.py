"""Limits of the model that a search may choose: its size on disk and its time per text."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Self

from megalabel.errors import SettingError
from megalabel.tuning.history import Result

SIZES = {"KB": 1e-3, "MB": 1.0, "GB": 1e3}
TIMES = {"us": 1e-3, "ms": 1.0, "s": 1e3}


@dataclass(frozen=True)
class Limits:
    """What the chosen model may take; None for no limit.

    max_size: MB (10⁶ bytes) of the model folder.
    max_latency: ms for a single text, the median, on this machine.
    """

    max_size: float | None = None
    max_latency: float | None = None

    @classmethod
    def parse(cls, max_size: str | float | None, max_latency: str | float | None) -> Self:
        """Limits such as "200MB" and "5ms"; plain numbers are MB and ms. SettingError for anything else."""
        return cls(_parsed("max_size", max_size, SIZES, "MB"), _parsed("max_latency", max_latency, TIMES, "ms"))

    def allow(self, result: Result) -> bool:
        """Whether the model of a finished trial is within the limits."""
        return result.finished and not self.exceeded(result)

    def exceeded(self, result: Result) -> str:
        """The limit that the model of a finished trial exceeds, in words; "" for none."""
        if self.max_size is not None and result.size_mb > self.max_size:
            return f"{result.size_mb:,.1f} MB"
        if self.max_latency is not None and result.latency_ms > self.max_latency:
            return f"{result.latency_ms:,.1f} ms per text"
        return ""


def _parsed(name: str, value: str | float | None, units: dict[str, float], usual: str) -> float | None:
    if value is None:
        return None
    found = re.fullmatch(r"\s*([0-9.]+(?:e[0-9]+)?)\s*([A-Za-z]*)\s*", str(value))
    by_case = {unit.casefold(): factor for unit, factor in units.items()}
    number = float("nan")
    if found and (found[2] or usual).casefold() in by_case:
        try:
            number = float(found[1]) * by_case[(found[2] or usual).casefold()]
        except ValueError:
            pass
    if isinstance(value, bool) or not 0 < number < math.inf:
        raise SettingError(
            f"{value!r}",
            wanted=f"a number above 0 with one of the units {', '.join(units)}, such as 200{usual}",
            where=name,
        )
    return number
