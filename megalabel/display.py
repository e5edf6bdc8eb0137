"""Values as a notebook shows them: small HTML tables with escaped, shortened cells."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

LONGEST = 80  # characters of a cell
ROWS = 5  # of a table of texts


def cut(text: str, longest: int = LONGEST) -> str:
    """A text on one line, shortened to a number of characters."""
    text = " ".join(text[: 4 * longest].split())
    return text if len(text) <= longest else text[: longest - 1].rstrip() + "…"


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
