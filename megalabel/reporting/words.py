"""Shares and names in the sentences and tables of a report."""

from __future__ import annotations

from megalabel.display import cut

LONGEST_TEXT = 140  # characters that are shown
LONGEST_NAME = 60


def percent(share: float, digits: int = 1) -> str:
    """A share from 0 to 1 as percent; a small one is never shown as 0."""
    value = 100 * share
    if 0 < value < 0.5 * 10**-digits:
        return f"< {10**-digits:.{digits}f}%"
    return f"{value:.{digits}f}%"


def points(share: float) -> str:
    """A difference of two shares in percentage points."""
    return f"{100 * share:.1f} points"


def quoted(name: str) -> str:
    """The name of a label in a sentence."""
    return f"“{cut(name, LONGEST_NAME)}”"


def listed(parts: list[str]) -> str:
    """Parts of a sentence with commas and "and"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else ""
