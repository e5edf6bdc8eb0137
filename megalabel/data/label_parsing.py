"""Parses rows of `label:1 label:1 ...` into arrays: block by block where possible, else line by line."""

from __future__ import annotations

import numpy as np

_DIGIT, _SPACE, _NEWLINE, _COLON, _DOT = 1, 2, 3, 4, 5
_CLASS = np.zeros(256, dtype=np.uint8)
_CLASS[ord("0") : ord("9") + 1] = _DIGIT
_CLASS[[ord(" "), ord("\t")]] = _SPACE
_CLASS[ord("\n")], _CLASS[ord(":")], _CLASS[ord(".")] = _NEWLINE, _COLON, _DOT
_MAX_DIGITS = 18  # so many decimal digits always fit int64
_MAX_VALUE = 32  # bytes after a colon that the fast path looks at, one after the other


class BadToken(Exception):
    """One `label:value` token that is not valid; the caller adds the file and the line."""

    def __init__(self, kind: str, found: str, wanted: str, next_step: str | None) -> None:
        super().__init__(found)
        self.kind, self.found, self.wanted, self.next_step = kind, found, wanted, next_step


def integers(a: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Converts runs of 1 to 18 ASCII digits to integers, without any checks.

    Args:
        a: the bytes, uint8.
        starts, stops: (n,) int64, where each run begins and ends.

    Returns:
        (n,) int64.
    """
    values, power = np.zeros(len(starts), dtype=np.int64), 1
    for back in range(1, int((stops - starts).max(initial=0)) + 1):
        at = stops - back
        digit = a[np.maximum(at, 0)].astype(np.int64) - 48
        values += np.where(at >= starts, digit, 0) * power
        power *= 10
    return values


def parse_block(block: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """Parses a block of lines at once, if all of them have the same simple form.

    The form is: label ids separated by spaces or tabs, all written as `7`, or all with a value of one, `7:1` or
    `7:1.0`. For such a block the result equals that of `parse_line` on each line.

    Returns:
        The labels (P,) int64 and the number of labels of each line (N,) int64; None for any other block, which
        must be parsed by `parse_line`.
    """
    if not block.endswith(b"\n"):
        block += b"\n"
    a = np.frombuffer(block, dtype=np.uint8)
    classes = _CLASS[a]
    if not classes.all():
        return None
    separator = (classes == _SPACE) | (classes == _NEWLINE)
    begins = ~separator
    begins[1:] &= separator[:-1]
    starts = np.flatnonzero(begins)
    ends = separator.copy()
    ends[1:] &= ~separator[:-1]
    ends[0] = False
    stops = np.flatnonzero(ends)
    label_stops = _label_stops(a, classes, starts, stops)
    if label_stops is None or (
        len(starts) and not 1 <= (label_stops - starts).min() <= (label_stops - starts).max() <= _MAX_DIGITS
    ):
        return None
    counts = np.diff(np.searchsorted(starts, np.flatnonzero(classes == _NEWLINE)), prepend=0)
    return integers(a, starts, label_stops), counts.astype(np.int64)


def _label_stops(a: np.ndarray, classes: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray | None:
    """The end of the label in each token; None unless all are plain labels or all end in `:1` or `:1.0…`."""
    colons, dots = np.flatnonzero(classes == _COLON), np.flatnonzero(classes == _DOT)
    if len(colons) == 0:
        return stops if len(dots) == 0 else None
    if len(colons) != len(starts) or (colons <= starts).any() or (colons + 1 >= stops).any():
        return None
    long = stops - colons > 2
    if (stops - colons).max(initial=0) > _MAX_VALUE:
        return None
    if (a[colons + 1] != ord("1")).any() or len(dots) != long.sum() or (dots != colons[long] + 2).any():
        return None
    for ahead in range(3, int((stops - colons).max()) if len(colons) else 0):
        at = colons + ahead
        inside = at < stops
        if (a[at[inside]] != ord("0")).any():
            return None
    return colons


def parse_line(line: bytes) -> tuple[list[int], list[BadToken]]:
    """Parses one line.

    Tokens are separated by spaces or tabs, or by commas in a line without colons. Each is a label id of ASCII
    digits, with or without a value, which must be 1.

    Returns:
        The labels of the valid tokens, and the errors of the others.
    """
    if b"," in line and b":" not in line:
        line = line.replace(b",", b" ")
    labels, bad = [], []
    for token in filter(None, line.replace(b"\t", b" ").split(b" ")):
        try:
            labels.append(_label(token))
        except BadToken as error:
            bad.append(error)
    return labels, bad


def _label(token: bytes) -> int:
    name, colon, value = token.partition(b":")
    shown = repr(token.decode(errors="replace")[:60])
    if name.startswith(b"-") and name[1:].isdigit():
        raise BadToken("negative", f"negative label id {name.decode()}", "ids of 0 or more", None)
    if not name.isdigit() or len(name) > _MAX_DIGITS:
        raise BadToken(
            "integer",
            f"{shown} is not a label id",
            "whole numbers, as in `7` or `7:1.0`",
            "write ids here and names in Y.txt, or use JSON lines, whose labels may be names",
        )
    if colon and not _is_one(value):
        raise BadToken(
            "value",
            f"label {name.decode()} has the value {value.decode(errors='replace')[:40]!r}",
            "the value 1, since a text either has a label or does not",
            "leave out labels with the value 0, and write 1 for all others if their weights can be dropped",
        )
    return int(name)


def _is_one(value: bytes) -> bool:
    if b"." in value and b"e" not in value.lower():
        value = value.rstrip(b"0")  # any number of them, which float would have to read
    try:
        return len(value) < 400 and b"_" not in value and float(value) == 1.0
    except ValueError:
        return False
