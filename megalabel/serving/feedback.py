"""Appends what people say of labels to a file of JSON lines, from several processes, whole lines only."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
from pathlib import Path

from megalabel.errors import SettingError
from megalabel.serving.question import Feedback
from megalabel.serving.wire import json_bytes

# Of the file: at its end, and on Windows without changing the ends of lines.
_APPEND = os.O_APPEND | os.O_CREAT | os.O_WRONLY | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


class FeedbackFile:
    """A file that `train`, `partial_fit` and `with_labels` read.

    Args:
        path: the file; it is created with the first line.

    Raises:
        SettingError: the file cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with self._open():
                pass
        except OSError as error:
            raise SettingError(
                f"{path} cannot be written: {error.strerror}",
                wanted="a file that the server may write",
                next_step="choose another place",
                where="feedback",
            ) from error

    def append(self, found: Feedback, model: str, version: str) -> None:
        """Adds a line, or nothing; OSError where the disk is full."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        line = json_bytes(
            {
                "text": found.text,
                "labels": found.labels,
                "rejected": found.rejected,
                "time": now,
                "model": model,
                "version": version,
            }
        )
        with self._open() as file:
            size = os.fstat(file).st_size
            try:
                _write(file, line + b"\n")
            except OSError:
                os.ftruncate(file, size)
                raise

    @contextlib.contextmanager
    def _open(self) -> Iterator[int]:
        """The file, which no other process writes meanwhile."""
        file = os.open(self.path, _APPEND, 0o640)
        try:
            with contextlib.suppress(ImportError):  # no locks on Windows, where one process serves
                import fcntl

                fcntl.flock(file, fcntl.LOCK_EX)
            yield file
        finally:
            os.close(file)  # releases the lock


def _write(file: int, line: bytes) -> None:
    """Writes all bytes."""
    while line:
        line = line[os.write(file, line) :]
