"""What is read of a text that has a title and a content: the title, the content, or both.

The repository has one file for a data set and for its sibling of titles alone, so that the file does not tell
which of the two is meant. `LF-AmazonTitles-131K` is published as titles; its file also holds the contents, which
are those of LF-Amazon-131K.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from megalabel.data.catalog import known_name
from megalabel.data.findings import Findings
from megalabel.errors import DataError

TITLE, CONTENT = ("title",), ("content", "abstractText", "abstract")


class TitleAndContent:
    """Makes the text of each record, and afterwards says what was taken.

    Args:
        name: the name of the data set; "auto" is the title for one whose name says "titles", and else both.
        parts: "title", "content", "both" or "auto".
        separator: the text between title and content; None for a space.
    """

    def __init__(self, name: str, parts: str = "auto", separator: str | None = None) -> None:
        by_name = parts == "auto" and "titles" in name.lower()
        self.parts = "title" if by_name else "both" if parts == "auto" else parts
        self.separator = " " if separator is None else f" {separator.strip()} " if separator.strip() else " "
        self._name = (known_name(name) or name) if by_name else None
        self._titles = self._contents = 0  # records that have one

    def text(self, record: Mapping[str, Any], where: str) -> str:
        """The text of one record; runs of white space become one space.

        Raises:
            DataError: the record has neither a title nor a content, or one of them is not a string.
        """
        title, content = _part(record, TITLE, where), _part(record, CONTENT, where)
        if title is None and content is None:
            raise DataError(
                f"keys {sorted(map(str, record))}"[:200],
                wanted="an object with the key title, content or both",
                next_step="rename the keys, or check that this is the right file",
                where=where,
            )
        self._titles += bool(title)
        self._contents += bool(content)
        if self.parts != "both":
            return normalize_space((title if self.parts == "title" else content) or "")
        first, second = normalize_space(title or ""), normalize_space(content or "")
        return f"{first}{self.separator}{second}" if first and second else first or second

    def note(self, file: Path, findings: Findings) -> None:
        """Notes what was taken, where there was a choice."""
        counts = {"title": self._titles, "content": self._contents}
        if not all(counts.values()):
            if self.parts != "both" and not counts[self.parts]:
                findings.note("no-part", file, f"no record has a {self.parts}; --text-parts both reads the rest")
            return
        if self.parts == "both":
            message = f"each text is title and content, joined by {self.separator!r}"
            other = "--text-parts title or content takes one of them"
        else:
            message = f"each text is the {self.parts} alone"
            message += f", as {self._name} is published" if self._name else ""
            other = "--text-parts both takes title and content"
        findings.note("taken-parts", file, f"{message} ({other})", severity="info")


def _part(record: Mapping[str, Any], keys: tuple[str, ...], where: str) -> str | None:
    for key in keys:
        value = record.get(key)
        if value is None:
            continue
        if isinstance(value, str):
            return value
        if isinstance(value, list) and all(isinstance(item, str) for item in value):
            return " ".join(value)
        raise DataError(f"{key!r} is {str(value)[:60]!r}", wanted="a string", where=where)
    return None


def normalize_space(text: str) -> str:
    """The text with runs of white space replaced by one space, and none at the ends."""
    return " ".join(text.split())
