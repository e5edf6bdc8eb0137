"""Lists of labels written in one cell, as JSON, Python, numpy and PostgreSQL write them."""

from __future__ import annotations

import json
import re
from typing import Any

_BRACKETS = {"[": "]", "{": "}", "(": ")"}
_WRAPPED = re.compile(
    r"(?:\w+\.)?(?:array|frozenset|set|list|tuple|deque|Index)\((.*?)(?:,\s*dtype=[^()]*)?\)", re.S
)
_ITEM = re.compile(
    r"""(?P<call>(?:np|numpy)\.\w+\()?
    (?:(?P<quoted>[bu]?(?:"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'))
      |(?P<number>[-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)(?=\s*(?:,|\)|$)|\s+[-+.\d])
      |(?P<bare>[^\s,\[\](){}'":][^,\[\](){}'":]*))
    (?(call)\))""",
    re.X | re.S,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U000[0-9a-fA-F]{5}|.)", re.S)
_LETTERS = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"'}
_MAX_DIGITS = 4000  # Python refuses to read longer integers


class Scores:
    """What a cell holds that maps labels to values."""


def looks_like_a_list(cell: str) -> bool:
    """Whether a cell is meant as a list: it begins with a bracket [, or is a set or tuple as a whole."""
    return cell.startswith("[") or (cell.startswith(("{", "(", *_CALLS)) and list_in(cell) is not None)


_CALLS = ("array(", "np.array(", "frozenset(", "set(", "list(", "tuple(", "deque(")


def list_in(cell: str) -> list[Any] | Scores | None:
    """The labels of a cell that is a list; `Scores` for a mapping, None for any other cell.

    Read are JSON (`["a", 3]`), Python's lists, tuples and sets (`['a', 'b']`, `{'a'}`, `set()`), numpy's arrays,
    which have no commas (`['a' 'b']`, `[1 2]`, `array([...], dtype=object)`, `[np.str_('a')]`), and arrays of
    PostgreSQL (`{a,"b c"}`). Nothing is ever executed.
    """
    try:
        value = json.loads(cell)
    except (ValueError, RecursionError):
        value = None
    if isinstance(value, list):
        return value
    if isinstance(value, dict) and value:
        return Scores()
    body = cell.strip()
    if wrapped := _WRAPPED.fullmatch(body):
        body = wrapped[1].strip() or "[]"
    if len(body) < 2 or _BRACKETS.get(body[0]) != body[-1]:
        return None
    if body.startswith("(") and "'" not in body and '"' not in body:
        return None  # a name in parentheses
    return _items(body[1:-1])


def _items(inner: str) -> list[Any] | Scores | None:
    """The items between brackets, separated by commas or white space."""
    found: list[Any] = []
    at, comma = 0, True
    while True:
        at = _after_blanks(inner, at)
        if at == len(inner):
            return found
        item = _ITEM.match(inner, at)
        if item is None or len(item["number"] or "") > _MAX_DIGITS:
            return None
        if item["bare"] and not comma:
            return None
        found.append(_value(item))
        at = _after_blanks(inner, item.end())
        if inner.startswith(":", at):
            return Scores()
        comma = inner.startswith(",", at)
        at += comma


def _after_blanks(text: str, at: int) -> int:
    while at < len(text) and text[at].isspace():
        at += 1
    return at


def _value(item: re.Match[str]) -> Any:
    if item["quoted"]:
        return _ESCAPE.sub(_unescaped, item["quoted"].lstrip("bu")[1:-1])
    if item["number"]:
        digits = item["number"]
        return int(digits) if digits.lstrip("+-").isdigit() else float(digits)
    bare = item["bare"].rstrip()
    return {"True": True, "False": False, "None": None, "nan": None}.get(bare, bare)


def _unescaped(escape: re.Match[str]) -> str:
    sign = escape[1]
    if len(sign) > 1:
        return chr(int(sign[1:], 16))
    return _LETTERS.get(sign, escape[0])
