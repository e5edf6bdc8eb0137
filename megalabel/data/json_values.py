"""The JSON values of a file: one per line, or one document, which is an array or objects over several lines."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Any

from megalabel.data.file_bytes import MAX_LINE_BYTES
from megalabel.data.findings import Findings
from megalabel.data.text_lines import lines
from megalabel.errors import DataError, line_of

_BLANKS = " \t\n\r"


def json_values(path: Path, findings: Findings) -> Iterator[tuple[int, Any]]:
    """Yields each value with the number of the line on which it begins; blank lines are noted and ignored.

    A file is read as one document if its first value is an array of objects or begins with a bracket on a line of
    its own, which is how other programs write arrays and indented objects.

    Raises:
        DataError: a line, or an item of the document, is not JSON.
    """
    stream = lines(path, findings)
    first = next((pair for pair in stream if pair[1].strip(_BLANKS)), None)
    if first is None:
        return
    start = first[1].strip(_BLANKS)
    if start in ("[", "{") or (start[0] == "[" and start[1:].lstrip(_BLANKS)[:1] in ("{", "]")):
        yield from _document(path, chain([first], stream), findings)
        return
    blank, first_blank = 0, 0
    for number, line in chain(_blanks_before(first[0]), [first], stream):
        if not line or line.isspace():
            blank, first_blank = blank + 1, first_blank or number
            continue
        try:
            yield number, json.loads(line)
        except (ValueError, RecursionError) as error:
            findings.error("json", path, no_json(error, line_of(path, number)))
    if blank:
        findings.note("blank-line", path, "blank line, ignored", line=first_blank, count=blank)


def no_json(error: Exception, where: str) -> DataError:
    """The error for text that is not JSON."""
    if isinstance(error, json.JSONDecodeError):
        reason = f"{error.msg} at character {error.colno}"
    elif isinstance(error, RecursionError):
        reason = "nested too deeply"
    else:
        reason = "a number of too many digits" if "digit" in str(error) else str(error)[:80]
    return DataError(
        f"does not parse as JSON ({reason})",
        wanted="one JSON object per line",
        next_step="look at the line; objects that stand in a larger document are taken out with: jq -c '.[]'",
        where=where,
    )


def _blanks_before(line: int) -> Iterator[tuple[int, str]]:
    return ((number, "") for number in range(1, line))


def _document(path: Path, stream: Iterator[tuple[int, str]], findings: Findings) -> Iterator[tuple[int, Any]]:
    """The items of an array, or objects one after the other, each over any number of lines."""
    text = _Text(path, stream)
    closing = ""
    if text.peek() == "[":
        text.skip(1)
        closing = "]"
    findings.note(
        "document", path, f"one JSON {'array' if closing else 'value after the other'}, not one object per line",
        severity="info", notable=True,
    )  # fmt: skip
    first = True
    while character := text.peek():
        if character == closing:
            text.skip(1)
            if text.peek():
                raise _misplaced("text after the end of the array", text, path)
            return
        if closing and not first:
            if character != ",":
                raise _misplaced("no comma between two items of the array", text, path)
            text.skip(1)
            text.peek()
        first = False
        yield text.value()
    if closing:
        raise _misplaced("the array does not end", text, path)


def _misplaced(what: str, text: _Text, path: Path) -> DataError:
    return DataError(
        f"does not parse as JSON ({what})",
        wanted="one JSON array, or one JSON object per line",
        next_step="check that the file is complete, and look at this line",
        where=line_of(path, text.line),
    )


class _Text:
    """The text of a document, of which no more is held than the value that is read next.

    `line` is the line of the place `at`.
    """

    def __init__(self, path: Path, stream: Iterator[tuple[int, str]]) -> None:
        self._path, self._stream = path, stream
        self._held, self.line, self.at = "", 1, 0
        self._decode = json.JSONDecoder().raw_decode

    def skip(self, n: int) -> None:
        """Skips n characters; those before are no longer held once they are most of the text."""
        stop = self.at + n
        self.line += self._held.count("\n", self.at, stop)
        self.at = stop
        if stop == len(self._held) or (stop > 1 << 16 and 2 * stop > len(self._held)):
            self._held, self.at = self._held[stop:], 0

    def peek(self) -> str:
        """Skips white space, and returns the next character; "" at the end."""
        while True:
            stop = self.at
            while stop < len(self._held) and self._held[stop] in _BLANKS:
                stop += 1
            self.skip(stop - self.at)
            if self.at < len(self._held):
                return self._held[self.at]
            pair = next(self._stream, None)
            if pair is None:
                return ""
            self.line, self._held, self.at = pair[0], pair[1] + "\n", 0

    def value(self) -> tuple[int, Any]:
        """The value that begins here, with its line; DataError if there is none."""
        while True:
            try:
                value, stop = self._decode(self._held, self.at)
            except (ValueError, RecursionError) as error:
                # It may end on a later line; twice as much text each time keeps the work linear.
                if isinstance(error, json.JSONDecodeError) and self._grow():
                    continue
                line = self.line + self._held.count("\n", self.at, getattr(error, "pos", self.at))
                raise no_json(error, line_of(self._path, line)) from None
            line = self.line
            self.skip(stop - self.at)
            return line, value

    def _grow(self) -> bool:
        """Holds twice as much text from here on, if there is more; whether there is more than before."""
        before, parts, n = len(self._held), [self._held], len(self._held) - self.at
        size = max(2 * n, 1 << 12)
        if size > MAX_LINE_BYTES:
            return False
        for _, line in self._stream:
            parts += [line, "\n"]
            n += len(line) + 1
            if n >= size:
                break
        self._held = "".join(parts)
        return len(self._held) > before
