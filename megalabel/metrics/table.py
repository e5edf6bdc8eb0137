"""Results as a table of plain text, for a terminal or for a Markdown page."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Literal

from megalabel.errors import SettingError

# The field's usual columns, in the order in which papers print them.
METRICS = ("P@1", "P@3", "P@5", "nDCG@5", "PSP@1", "PSP@3", "PSP@5")
COSTS = ("train s", "train CPU s", "predict s/1k", "peak MB", "model MB")

Value = float | int | str | None


def table(
    rows: Sequence[tuple[str, Mapping[str, Value]]],
    columns: Sequence[str] | None = None,
    *,
    style: Literal["text", "markdown"] = "text",
    title: str = "",
) -> str:
    """Rows of named numbers, aligned; ASCII apart from what the names hold, no newline at the end.

        model           P@1    P@3   train s
        -----------  ------  -----  --------
        pecos         57.41  38.11       0.8
        fasttext      32.16      -     237.1

    Metrics ("@" in the name) and rates ("/") get two decimals, other fractions one, whole numbers of type
    int none, strings are printed as they are; None, NaN and what a row lacks are "-".

    Args:
        rows: a name and its values each, printed in the order given.
        columns: which values, in which order. By default those of METRICS and COSTS that a row has.
        style: "text" for a terminal, "markdown" for a page.
        title: the head of the first column.

    Raises:
        SettingError: an unknown style.
    """
    if style not in ("text", "markdown"):
        raise SettingError(
            f"style={style!r}",
            wanted='"text" or "markdown"',
            next_step="choose one of the two",
            where="style",
        )
    if columns is None:
        columns = [name for name in METRICS + COSTS if any(values.get(name) is not None for _, values in rows)]
    lines = [[title, *columns]]
    lines += [[name, *(_cell(column, values.get(column)) for column in columns)] for name, values in rows]
    lines = [[" ".join(cell.split()) for cell in line] for line in lines]
    if style == "markdown":
        lines = [[cell.replace("|", "\\|") for cell in line] for line in lines]
    widths = [max(_width(line[i]) for line in lines) for i in range(len(columns) + 1)]
    if style == "markdown":
        widths = [max(width, 3) for width in widths]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
    else:
        rule = ["-" * width for width in widths]
    aligned = [_align(line, widths) for line in lines]
    aligned.insert(1, rule)
    if style == "markdown":
        return "\n".join("| " + " | ".join(line) + " |" for line in aligned)
    return "\n".join("  ".join(line).rstrip() for line in aligned)


def _cell(column: str, value: Value) -> str:
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return "-"
    if isinstance(value, (str, int)):
        return str(value)
    return f"{value:.2f}" if "@" in column or "/" in column else f"{value:.1f}"


def _align(line: Sequence[str], widths: Sequence[int]) -> list[str]:
    padding = [" " * (width - _width(cell)) for cell, width in zip(line, widths, strict=True)]
    return [line[0] + padding[0], *(pad + cell for pad, cell in zip(padding[1:], line[1:], strict=True))]


def _width(text: str) -> int:
    """How many cells a terminal gives `text`: two for wide East Asian characters, none for accents."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
