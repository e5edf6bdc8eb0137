"""Rows of `label:1 label:1 ...` as arrays: a fast path over blocks of bytes, and the rule it follows."""

from __future__ import annotations

import numpy as np

_DIGIT, _SPACE, _NEWLINE, _COLON, _DOT = 1, 2, 3, 4, 5
_CLASS = np.zeros(256, dtype=np.uint8)
_CLASS[ord("0") : ord("9") + 1] = _DIGIT
_CLASS[[ord(" "), ord("\t")]] = _SPACE
_CLASS[ord("\n")], _CLASS[ord(":")], _CLASS[ord(".")] = _NEWLINE, _COLON, _DOT
_LONGEST = 18  # decimal digits that always fit int64


class BadToken(Exception):
    """What is wrong with one `label:value` token, before file and line are known."""

    def __init__(self, kind: str, found: str, wanted: str, next_step: str) -> None:
        super().__init__(found)
        self.kind, self.found, self.wanted, self.next_step = kind, found, wanted, next_step


def integers(a: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray:
    """Runs of 1 to 18 ASCII digits in the bytes `a` (uint8) as (len(starts),) int64. Checks nothing."""
    values, power = np.zeros(len(starts), dtype=np.int64), 1
    for back in range(1, int((stops - starts).max(initial=0)) + 1):
        at = stops - back
        digit = a[np.maximum(at, 0)].astype(np.int64) - 48
        values += np.where(at >= starts, digit, 0) * power
        power *= 10
    return values


def parse_block(block: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """The labels (P,) int64 and their number in each row (N,) int64 of a block of clean lines, else None.

    Clean is: every line holds digits apart from blanks, all of one form, `7` or `7:1` or `7:1.0`. On a clean
    block it answers what `parse_line` answers line by line; every other block is left to that.
    """
    if not block.endswith(b"\n"):
        block += b"\n"
    a = np.frombuffer(block, dtype=np.uint8)
    classes = _CLASS[a]
    if not classes.all():
        return None
    apart = (classes == _SPACE) | (classes == _NEWLINE)
    begins = ~apart
    begins[1:] &= apart[:-1]
    starts = np.flatnonzero(begins)
    ends = apart.copy()
    ends[1:] &= ~apart[:-1]
    ends[0] = False
    stops = np.flatnonzero(ends)
    label_stops = _label_stops(a, classes, starts, stops)
    if label_stops is None or (
        len(starts) and not 1 <= (label_stops - starts).min() <= (label_stops - starts).max() <= _LONGEST
    ):
        return None
    counts = np.diff(np.searchsorted(starts, np.flatnonzero(classes == _NEWLINE)), prepend=0)
    return integers(a, starts, label_stops), counts.astype(np.int64)


def _label_stops(a: np.ndarray, classes: np.ndarray, starts: np.ndarray, stops: np.ndarray) -> np.ndarray | None:
    """Where each token's label ends, if every token is a plain label or every one ends in `:1` or `:1.0…`."""
    colons, dots = np.flatnonzero(classes == _COLON), np.flatnonzero(classes == _DOT)
    if len(colons) == 0:
        return stops if len(dots) == 0 else None
    if len(colons) != len(starts) or (colons <= starts).any() or (colons + 1 >= stops).any():
        return None
    long = stops - colons > 2
    if (a[colons + 1] != ord("1")).any() or len(dots) != long.sum() or (dots != colons[long] + 2).any():
        return None
    for ahead in range(3, int((stops - colons).max()) if len(colons) else 0):
        at = colons + ahead
        inside = at < stops
        if (a[at[inside]] != ord("0")).any():
            return None
    return colons


def parse_line(line: bytes) -> tuple[list[int], list[BadToken]]:
    """The labels of one line, and what is wrong with the tokens that give none.

    Tokens stand apart by spaces or tabs, or by commas in a line without colons; each is a label id of ASCII
    digits, with or without a value, which must be 1.
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
        raise BadToken("negative", f"negative label id {name.decode()}", "ids from 0 upwards", "correct the id")
    if not name.isdigit() or len(name) > _LONGEST:
        raise BadToken(
            "integer",
            f"{shown} is no label id",
            "whole numbers, as in `7` or `7:1.0`",
            "write ids here and names in Y.txt, or use JSON lines, whose labels may be names",
        )
    if colon and not _is_one(value):
        raise BadToken(
            "value",
            f"label {name.decode()} has the value {value.decode(errors='replace')[:40]!r}",
            "the value 1 (a text has a label or has it not)",
            "leave out labels with the value 0, and write 1 for all others if their weight may be lost",
        )
    return int(name)


def _is_one(value: bytes) -> bool:
    try:
        return b"_" not in value and float(value) == 1.0
    except ValueError:
        return False
