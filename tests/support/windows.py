"""Rules of Windows, emulated on Linux: what this process has open is neither renamed, replaced nor removed."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

MAPS = Path("/proc/self/maps")


def open_files() -> set[str]:
    """The paths of files that this process has open or mapped."""
    found = {line.split(maxsplit=5)[5] for line in MAPS.read_text().splitlines() if line.count("/")}
    for handle in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            found.add(os.readlink(f"/proc/self/fd/{handle}"))
    own = (".lock",)  # which `training/run_lock.py` removes in another order on Windows
    return {path for path in found if not os.path.isdir(path) and os.path.basename(path) not in own}


def refuse_open(*paths: str | os.PathLike[str]) -> None:
    """PermissionError, as of Windows, if one of the paths or a file in it is open."""
    held = open_files()
    for path in map(os.path.realpath, paths):
        if any(one == path or one.startswith(f"{path}{os.sep}") for one in held):
            error = PermissionError(13, "The process cannot access the file because it is being used", str(path))
            error.winerror = 32  # type: ignore[attr-defined]
            raise error


def emulate(monkeypatch: pytest.MonkeyPatch) -> None:
    """Makes the functions of `os` that rename and remove files keep to the rules."""

    def checked(name: str, both: bool) -> Callable[..., Any]:
        usual = getattr(os, name)

        def call(path: Any, *others: Any, dir_fd: int | None = None, **options: Any) -> Any:
            place = path if dir_fd is None else os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), path)
            refuse_open(place, *(others if both else ()))
            return usual(path, *others, **options, **({} if dir_fd is None else {"dir_fd": dir_fd}))

        return call

    for name in ("rename", "replace", "unlink", "remove"):
        monkeypatch.setattr(os, name, checked(name, both=name in ("rename", "replace")))
