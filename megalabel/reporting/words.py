"""Numbers and names in the sentences and tables of a report."""

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


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 text", "2 texts"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def quoted(name: str) -> str:
    """The name of a label in a sentence."""
    return f"“{cut(name, LONGEST_NAME)}”"


def duration(seconds: float) -> str:
    """Seconds as people say them: "42 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def listed(parts: list[str]) -> str:
    """Parts of a sentence with commas and "and"."""
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1] if parts else ""
