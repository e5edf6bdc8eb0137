"""The one place where saved models are read: guarded against damage, and against a writer at the same moment."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from megalabel.errors import RESTORE_FOLDER, FormatError
from megalabel.models.find import model_folder
from megalabel.storage.manifest import NAME
from megalabel.storage.paths import as_path
from megalabel.storage.reading import reading

T = TypeVar("T")

# How often, and after how many seconds, a folder that was replaced while it was read is read again.
TRIES, PAUSE = 20, 0.05


def read_model(folder: str | Path, read: Callable[[Path], T]) -> T:
    """What `read` makes of a model's folder, or of that in a run folder.

    A folder that is replaced while it is read is read again, so that no model is a mixture of two; nothing in it
    is moved or changed.

    Raises:
        FormatError: whatever goes wrong in reading, since what the folder holds may come from anywhere.
        SettingError: `folder` is no path.
        ResourceError: too little memory, too few open files.
    """
    path = as_path(folder, "run")
    for more in (True,) * TRIES + (False,):
        place = _place(path)
        before = _identity(place)
        try:
            with reading(place, wanted="a model that megalabel saved", next_step=RESTORE_FOLDER):
                found = read(place)
        except FormatError:
            now = _place(path)  # a folder that a writer has just moved aside is the same, but elsewhere
            if not more or (now, _identity(now)) == (place, before):
                raise
        else:
            if not more or _identity(place) == before:
                return found
        time.sleep(PAUSE)
    raise AssertionError("the last try returns or raises")


def _place(path: Path) -> Path:
    try:
        return model_folder(path)
    except FormatError:  # or a writer was between two steps, and is not any more
        time.sleep(PAUSE)
        return model_folder(path)


def _identity(folder: Path) -> tuple[int, ...] | None:
    """What is another number once the folder has been replaced."""
    try:
        found = (folder / NAME).stat()
        return found.st_dev, found.st_ino, found.st_mtime_ns, found.st_size
    except (OSError, ValueError):
        return None
