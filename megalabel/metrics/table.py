"""Formats results as a table of plain text, for a terminal or a Markdown page."""

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
    """Formats rows of named numbers as an aligned table, without a newline at the end.

        model           P@1    P@3   train s
        -----------  ------  -----  --------
        pecos         57.41  38.11       0.8
        fasttext      32.16      -     237.1

    Metrics (names with "@") and rates (names with "/") get two decimals, other floats one, and integers none;
    strings are unchanged, and None, NaN and missing values become "-".

    Args:
        rows: the name and the values of each row, in this order.
        columns: the names of the values, in this order. Default: those of METRICS and COSTS that some row has.
        style: "text" for a terminal, "markdown" for a Markdown page.
        title: the heading of the first column.

    Raises:
        SettingError: the style is unknown.
    """
    if style not in ("text", "markdown"):
        raise SettingError.choice("style", style, ("text", "markdown"))
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
    """The number of terminal cells of a text: two per wide East Asian character, none per combining accent."""
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )
