"""The log of the server: one line per event on standard error, as text or as JSON."""

from __future__ import annotations

import contextlib
import datetime
import json
import sys
import traceback
from typing import Any, Literal, TextIO

Format = Literal["text", "json"]


class Log:
    """Writes events.

    Args:
        format: "text" for people, "json" for programs.
        requests: whether each request is an event.
        stream: where to; standard error by default.
    """

    def __init__(self, format: Format = "text", *, requests: bool = False, stream: TextIO | None = None) -> None:
        self.format, self.requests, self._stream = format, requests, stream

    def event(self, event: str, **facts: Any) -> None:
        """Writes an event with its facts."""
        if self.format == "json":
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
            line = json.dumps({"time": now, "event": event, **facts}, ensure_ascii=False, default=str)
        else:
            shown = [f"{key}={_plain(value)}" for key, value in facts.items() if key != "traceback"]
            line = " ".join(["megalabel serve:", event, *shown])
            line = "\n".join([line, facts["traceback"]]) if "traceback" in facts else line
        stream = self._stream or sys.stderr
        with contextlib.suppress(OSError, ValueError, AttributeError):  # nobody reads it any more
            stream.write(line.encode("utf-8", "backslashreplace").decode() + "\n")
            stream.flush()

    def failure(self, event: str, error: BaseException, **facts: Any) -> None:
        """Writes an error that nobody expected, with where it happened."""
        where = "".join(traceback.format_exception(error))
        self.event(event, error=f"{type(error).__name__}: {error}", **facts, traceback=where)


def _plain(value: object) -> str:
    """A value on one line, in quotes where it holds what does not print."""
    text = str(value)
    return text if text.isprintable() else json.dumps(text)
