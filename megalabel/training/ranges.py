"""Conditions on the values of options in addition to their types: ranges, patterns, powers of two."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


@runtime_checkable
class Check(Protocol):
    """A condition on the value of an option; other packages may define further ones."""

    def fits(self, value: Any) -> bool:
        """Whether a value of the right type satisfies the condition."""

    def wanted(self, kind: str) -> str:
        """A description of the allowed values, given their `kind`, such as "a whole number"."""


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
        """A description of the range, beginning with the kind of number."""
        low, high = (f"{bound:,.12g}" for bound in (self.low, self.high))
        parts = []
        if self.low > -math.inf:
            parts.append(f"above {low}" if self.above else f"of at least {low}")
        if self.high < math.inf:
            parts.append(f"below {high}" if self.below else f"at most {high}")
        return f"{kind} {' and '.join(parts)}".rstrip()


@dataclass(frozen=True)
class Matches:
    """The texts that a regular expression matches completely; `meaning` describes them."""

    pattern: str
    meaning: str

    def fits(self, value: Any) -> bool:
        """Whether the expression matches the whole text."""
        return re.fullmatch(self.pattern, value) is not None

    def wanted(self, kind: str) -> str:
        """A description of the texts that match."""
        return self.meaning


@dataclass(frozen=True)
class PowerOfTwo:
    """The powers of two from 2 to 2^30."""

    def fits(self, value: Any) -> bool:
        """Whether an integer is such a power of two."""
        return bool(2 <= value <= 2**30 and value & (value - 1) == 0)

    def wanted(self, kind: str) -> str:
        """A description of these numbers."""
        return "a power of two from 2 to 2^30"


def at_least(low: float) -> Range:
    """Numbers of at least `low`."""
    return Range(low)


def above(low: float) -> Range:
    """Numbers greater than `low`."""
    return Range(low, above=True)


def between(low: float, high: float) -> Range:
    """Numbers from `low` to `high`, both included."""
    return Range(low, high)


FRACTION = Range(0, 1, below=True)
