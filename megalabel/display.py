"""Values as people read them: counts and times in words, and small HTML tables with escaped, shortened cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

LONGEST = 80  # characters of a cell
NAME = 40  # characters of the name of a label
ROWS = 5  # of a table of texts


def cut(text: str, longest: int = LONGEST) -> str:
    """A text on one line, shortened to a number of characters."""
    text = " ".join(text[: 4 * longest].split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


def counted(n: int, noun: str, plural: str = "") -> str:
    """A number with its noun: "1 text", "2 texts"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def duration(seconds: float) -> str:
    """Seconds as people say them: "42 s", "3 min 20 s", "2 h 5 min"."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"


def html_table(title: str, header: Sequence[str], rows: Iterable[Sequence[object]], note: str = "") -> str:
    """A table with a title above and a note below it; everything is escaped.

    Args:
        title: what is shown.
        header: the names of the columns.
        rows: the cells; numbers are aligned to the right.
        note: "" for none.
    """

    def cell(value: object) -> str:
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        text = f"{value:,}" if isinstance(value, int) and number else cut(str(value))
        return f'<td style="text-align: {"right" if number else "left"}">{escape(text)}</td>'

    head = "".join(f'<th style="text-align: left">{escape(name)}</th>' for name in header)
    body = "".join(f"<tr>{''.join(cell(value) for value in row)}</tr>" for row in rows)
    below = f"<p>{escape(note)}</p>" if note else ""
    table = f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
    return f"<div><p><b>{escape(title)}</b></p>{table}{below}</div>"
