"""What the value of an option must satisfy beside its type: ranges, patterns, powers of two."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


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
