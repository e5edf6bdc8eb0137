"""The separator of the labels in one cell: `|`, or what the cells of the training file show."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

DEFAULT = "|"
_NAMES = {"\n": "the line break", "\t": "the tab", " ": "the space"}
_NUMBERS = re.compile(r"[0-9]+(?:\s*[,; ]\s*[0-9]+)*")
_ENTITY = re.compile(r"&#?\w{1,8};")
_MOST_CELLS = 200_000  # different cells that are compared; more would show nothing new


@dataclass
class Cells:
    """The different cells of a column of labels, and how many cells hold each separator."""

    total: int = 0
    different: set[str] = field(default_factory=set)
    holding: dict[str, int] = field(default_factory=lambda: dict.fromkeys(("|", "\n", "\t", ";", ",", " "), 0))

    @classmethod
    def of(cls, cells: Iterable[str]) -> Cells:
        """Counts the cells, which are stripped and not empty."""
        self = cls()
        for cell in cells:
            self.total += 1
            for separator in self.holding:
                if separator in cell:
                    self.holding[separator] += 1
            if len(self.different) < _MOST_CELLS:
                self.different.add(cell)
        return self


@dataclass(frozen=True)
class Guess:
    """The separator that was chosen, and what to tell about it; None where it is plain."""

    separator: str
    message: str | None = None
    doubtful: bool = False


def split_cell(cell: str, separator: str) -> list[str]:
    """The labels of a cell, without blanks around them and without an empty one after the last separator."""
    if separator == " ":
        return cell.split()
    parts = [name.strip() for name in cell.split(separator)]
    return parts[:-1] if len(parts) > 1 and not parts[-1] else parts


def guess_separator(cells: Cells, listed: Collection[str] = ()) -> Guess:
    """Chooses the separator of the labels.

    `|` is one wherever it occurs, so are line breaks and tabs, and semicolons that end no HTML entity. A comma or
    a space also occurs inside names; it separates labels where the parts of the cells are the labels of the list,
    are all numbers, or mostly occur on their own or at several places, which words of a name do not.

    Args:
        cells: the cells of the training file.
        listed: the names in the list of labels, if there is one.
    """
    if cells.holding["|"]:
        return _with_doubt(DEFAULT, cells)
    if listed:
        return _by_list(cells, listed)
    for separator in ("\n", "\t"):
        if cells.holding[separator]:
            return _chosen(separator, cells)
    shares = {separator: free_share(cells.different, separator) for separator in (";", ",", " ")}
    semicolon = any(";" in _ENTITY.sub("", cell) for cell in cells.different)
    if semicolon and shares[";"] >= min(shares[","], 0.5):
        return _chosen(";", cells)
    if all(_NUMBERS.fullmatch(cell) for cell in cells.different):
        held = [separator for separator in (";", ",", " ") if cells.holding[separator]]
        return _chosen(held[0], cells) if held else Guess(DEFAULT)
    if shares[","] > 0.5:
        return _chosen(",", cells)
    if _all_tags(cells.different) or _evident_space(cells, shares[" "]):
        return _chosen(" ", cells)
    if cells.holding[","]:
        return _doubtful(",", cells)
    return _doubtful(" ", cells) if shares[" "] >= 0.3 else Guess(DEFAULT)


def free_share(cells: Collection[str], separator: str) -> float:
    """The share of parts of cells with a separator that also occur alone or at another place of a cell."""
    places: dict[str, int] = {}  # of a part: its only place, -1 for several, -2 for alone
    split = [split_cell(cell, separator) for cell in cells]
    for parts in split:
        for place, part in enumerate(parts):
            place = -2 if len(parts) == 1 else place
            known = places.setdefault(part, place)
            if known != place:
                places[part] = -1
    parts = [part for row in split if len(row) > 1 for part in row]
    return sum(places[part] < 0 for part in parts) / len(parts) if parts else 0.0


def _by_list(cells: Cells, listed: Collection[str]) -> Guess:
    """The separator whose parts are names of the list; `|` if none is."""

    def known(separator: str | None) -> float:
        cut = ([cell] if separator is None else split_cell(cell, separator) for cell in cells.different)
        parts = [part for row in cut for part in row]
        return sum(part in listed for part in parts) / max(len(parts), 1)

    whole = known(None)
    shares = {separator: known(separator) for separator, n in cells.holding.items() if n}
    best = max(shares, key=lambda s: shares[s], default=DEFAULT)
    if whole == 1 or shares.get(best, 0.0) <= whole or shares[best] < 0.5:
        return Guess(DEFAULT)
    return _chosen(best, cells)


def _all_tags(cells: Collection[str]) -> bool:
    words = [word for cell in cells for word in cell.split()]
    return len(words) > len(cells) and all(word.startswith(("#", "__label__")) for word in words)


def _evident_space(cells: Cells, share: float) -> bool:
    if share < 0.95:
        return False
    words = {word for cell in cells.different for word in cell.split()}
    return 2 * len(words) <= len(cells.different)


def _shown(separator: str) -> str:
    return _NAMES.get(separator, f"`{separator}`")


def _chosen(separator: str, cells: Cells) -> Guess:
    return Guess(
        separator,
        f"labels are taken to be separated by {_shown(separator)}, which {cells.holding[separator]:,} of "
        f"{cells.total:,} cells hold, and none holds `|`; label_separator (--label-separator) says otherwise",
    )


def _doubtful(separator: str, cells: Cells) -> Guess:
    return Guess(
        DEFAULT,
        f"no cell of labels holds `|`, and {cells.holding[separator]:,} of {cells.total:,} hold "
        f"{_shown(separator)}, taken as part of names; if it separates labels, give it as label_separator "
        "(--label-separator)",
        doubtful=True,
    )


def _with_doubt(separator: str, cells: Cells) -> Guess:
    """`separator`, with a word where its parts seem to hold several labels still."""
    parts = {part for cell in cells.different for part in split_cell(cell, separator)}
    for other in (";", ","):
        if cells.holding[other] and free_share(parts, other) > 0.5:
            return Guess(
                separator,
                f"labels are separated by {_shown(separator)}, but {cells.holding[other]:,} of "
                f"{cells.total:,} cells also hold {_shown(other)} between what are labels elsewhere",
                doubtful=True,
            )
    return Guess(separator)
