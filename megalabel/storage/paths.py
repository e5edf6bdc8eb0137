"""Checks of paths that callers give, before anything is read or written there."""

from __future__ import annotations

import os
from pathlib import Path

from megalabel.errors import SettingError

TYPES = "a path, as str or pathlib.Path"


def as_path(value: object, name: str = "path") -> Path:
    """The path that a caller gave.

    Args:
        value: what was given.
        name: the name of the argument, for messages.

    Raises:
        SettingError: a value that is no path (None, a number, bytes, a list), an empty one, or one with a NUL
            character, which no file system accepts. An empty path would otherwise mean the current folder.
    """
    if not isinstance(value, (str, os.PathLike)):
        step = "decode it with os.fsdecode(…)" if isinstance(value, bytes) else "give one path"
        raise _no_path(f"{value!r:.60} of type {type(value).__name__}", step, name)
    text = os.fspath(value)
    if not isinstance(text, str):
        raise _no_path(f"{text!r:.60}, a path of bytes", "decode it with os.fsdecode(…)", name)
    if not text:
        raise _no_path("an empty path", "write . for the current folder", name)
    if "\0" in text:
        raise _no_path(f"{text!r:.60}, which holds a NUL character", "remove the character", name)
    return Path(text)


def _no_path(found: str, step: str, name: str) -> SettingError:
    return SettingError(found, wanted=TYPES, next_step=step, where=name)
