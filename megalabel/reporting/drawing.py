"""Draws figures as SVG: one style, text as text, the same bytes each time."""

from __future__ import annotations

import re
from io import StringIO
from typing import Any

from megalabel.errors import MissingExtra
from megalabel.reporting.blocks import Block

BLUE, ORANGE, GREEN, GRAY = "#0b62a4", "#d9730d", "#2e7d4f", "#b9bfc6"  # apart also for color-blind readers
WIDTH = 7.4  # inches
STYLE = {
    "svg.fonttype": "none",  # names of labels may be in any script, for which the reader's fonts are better
    "text.parse_math": False,  # a $ in a name is a $
    "font.family": ["sans-serif"],
    "font.size": 9.0,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#667",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "axes.labelcolor": "#334",
    "grid.color": "#e3e6ea",
    "xtick.color": "#445",
    "ytick.color": "#445",
    "legend.frameon": False,
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.6,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
}
FONTS = "font-family:system-ui,'Segoe UI',Roboto,'Helvetica Neue',Arial,sans-serif"
_IDS = re.compile(r' id="([^"]*)"')


def check_extra() -> None:
    """MissingExtra unless matplotlib and jinja2, which write the page, can be imported."""
    for name in ("matplotlib", "jinja2"):
        try:
            __import__(name)
        except ImportError as error:
            raise MissingExtra(
                f"a report as a page needs {name}",
                wanted=f"the package {name}",
                next_step="run pip install 'megalabel[report]', or use --text",
            ) from error


def svg_of(block: Block, name: str) -> str:
    """The figure of a block as an SVG element; `name` makes the ids in it differ from those of other figures."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {**matplotlib.rcParamsDefault, **STYLE, "svg.hashsalt": name, "backend": "svg"}
    file = StringIO()
    with matplotlib.rc_context(style):
        figure = Figure(figsize=(WIDTH, block.height), layout="constrained")
        axes = figure.subplots(*block.axes, squeeze=False).ravel()
        assert block.draw is not None
        block.draw(*axes)
        figure.savefig(file, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(file.getvalue(), block.finding)


def _inline(svg: str, label: str) -> str:
    """An SVG document as an element: without prolog, metadata and ids that nothing refers to."""
    from html import escape

    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r"<!--.*?-->\s*", "", svg, flags=re.DOTALL)
    used = set(re.findall(r"(?:url\(#|href=\"#)([^)\"]+)", svg))
    svg = _IDS.sub(lambda match: match[0] if match[1] in used else "", svg)
    svg = re.sub(r"font: ([^;\"]*?)(?:'[^;\"]*|sans-serif)", rf"font: \1sans-serif; {FONTS}", svg)
    return svg.replace("<svg ", f'<svg role="img" aria-label="{escape(label)}" ', 1).strip()


def percent_axis(axes: Any, which: str = "y") -> None:
    """Marks an axis of shares from 0 to 1 in percent."""
    from matplotlib.ticker import PercentFormatter

    (axes.yaxis if which == "y" else axes.xaxis).set_major_formatter(PercentFormatter(1.0, decimals=0))


def name_ticks(axes: Any, names: list[str], *, tilt: bool = False) -> None:
    """Puts names below the bars of an axis."""
    options: dict[str, Any] = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if tilt else {}
    axes.set_xticks(range(len(names)), names, **options)
    axes.tick_params(axis="x", length=0)
