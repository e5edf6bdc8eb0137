"""Writes a report as one HTML file without links to other files, or its essentials as lines of text."""

from __future__ import annotations

import base64
import textwrap
from importlib.resources import files
from typing import Any

from megalabel.metrics.table import table
from megalabel.reporting.blocks import Block
from megalabel.reporting.build import Part, Report
from megalabel.reporting.drawing import check_extra, svg_of

LINE = 100  # characters of a line of text


def html(report: Report) -> str:
    """The report as a page: style, figures and CSV files are inside. MissingExtra without matplotlib or jinja2."""
    check_extra()
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = files("megalabel.reporting").joinpath("page.html").read_text(encoding="utf-8")
    drawn = _Drawn()
    return environment.from_string(template).render(report=report, drawn=drawn)


class _Drawn:
    """Figures and CSV files of blocks, as the template puts them into the page."""

    def __init__(self) -> None:
        self._n = 0

    def svg(self, block: Block) -> Any:
        """The figure of a block, whose ids differ from those of all others of the page."""
        from markupsafe import Markup

        self._n += 1
        return Markup(svg_of(block, f"{self._n}-{block.name}"))

    def csv(self, block: Block) -> str:
        """The numbers of a block as a link that holds them."""
        content = base64.b64encode(block.csv().encode("utf-8", "backslashreplace")).decode("ascii")
        return f"data:text/csv;charset=utf-8;base64,{content}"


def text(report: Report) -> str:
    """The essentials of a report for a terminal: metrics, weakest spots, and the finding of each figure."""
    lines = [report.title, ""]
    for section in report.together:
        for block in section.blocks:
            if block.view is not None:
                header, rows = block.view
                lines += [
                    table([(row[0], dict(zip(header[1:], row[1:], strict=True))) for row in rows], header[1:])
                ]
            lines += [*_wrapped(block.finding), ""]
    for part in report.parts:
        lines += _part(part, named=len(report.parts) > 1)
    return "\n".join(lines).rstrip()


def _part(part: Part, *, named: bool) -> list[str]:
    lines = [part.title, "=" * len(part.title), ""] if named else []
    if part.weak:
        lines.append("Weakest spots")
        for i, spot in enumerate(part.weak, 1):
            lines += _wrapped(spot, f"{i}. ")
        lines.append("")
    for section in part.sections:
        for block in section.blocks:
            lines += _wrapped(block.finding, f"{block.title}: ")
    return [*lines, ""]


def _wrapped(sentence: str, start: str = "") -> list[str]:
    return textwrap.wrap(start + sentence, LINE, subsequent_indent="   " if start else "") or [start]
