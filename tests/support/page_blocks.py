"""Reads the fenced blocks of the documentation: commands, Python, files that a page shows, and what is printed."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
FENCE = re.compile(r"^```(\w*)(?: file=(\S+))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SHOWN = {
    "json",
    "toml",
    "csv",
    "ini",
    "dockerfile",
    "turtle",
}  # languages of blocks that show the content of a file in part
NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?(?:e-?\d+)?")


class Block(NamedTuple):
    """A fenced block of a page."""

    language: str  # "": commands; "python"; "text": what the block before it prints; one of SHOWN
    file: str  # the name of the file that the block is, or ""
    text: str
    line: int  # of the page, the first one after the fence

    @property
    def commands(self) -> list[str]:
        r"""The commands of a block of commands; lines that end with \ are joined."""
        lines = self.text.replace("\\\n", " ").splitlines()
        return [line for line in lines if line.strip() and not line.startswith("#")]


def pages() -> list[Path]:
    """README.md and every page of the site, without the log and the notes on decisions."""
    docs = sorted((ROOT / "docs").rglob("*.md"))
    return [ROOT / "README.md", *(page for page in docs if page.name != "log.md" and page.parent.name != "notes")]


def name_of(page: Path) -> str:
    """The name of a page: its path below docs/, without suffix."""
    return page.relative_to(ROOT).with_suffix("").as_posix().removeprefix("docs/")


def blocks_of(page: Path) -> list[Block]:
    """The fenced blocks of a page, in order."""
    text = page.read_text(encoding="utf-8")
    assert text.count("\n```") % 2 == 0, f"{page.name} has a fence without an end"
    return [Block(*found.groups(), text[: found.start()].count("\n") + 2) for found in FENCE.finditer(text)]


def lines_missing(shown: str, printed: str, within: float = math.inf) -> list[str]:
    """The lines that a page shows and that were not printed in this order; blanks are not compared.

    within: how far a figure may be from the printed one, if the line has no "…".
    A line of "…" alone stands for any number of lines, "…" within a line for any text.
    """
    there, missing = iter(printed.splitlines()), []
    for line in shown.splitlines():
        if not line.strip() or line.strip() == "…":
            continue
        wanted = re.compile(re.escape(_plain(line)).replace("…", ".*"))
        figures = _figures(line)
        if not any(wanted.fullmatch(_plain(found)) and _near(figures, _figures(found), within) for found in there):
            missing.append(line)
    return missing


def _figures(line: str) -> list[float]:
    return [float(figure.replace(",", "")) for figure in NUMBER.findall(line)]


def _near(shown: list[float], printed: list[float], within: float) -> bool:
    """Whether all figures are near; those of a line that stands for others are not compared."""
    return len(shown) != len(printed) or all(abs(a - b) <= within for a, b in zip(shown, printed, strict=True))


def _plain(line: str) -> str:
    """The line with every number replaced by 0, and single blanks and rules of one length."""
    return " ".join(re.sub("--+", "--", NUMBER.sub("0", line)).split())
