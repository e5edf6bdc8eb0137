"""Whether a model can be saved in a folder."""

from __future__ import annotations

from pathlib import Path

from megalabel.errors import SettingError
from megalabel.storage.manifest import NAME
from megalabel.storage.paths import as_path


def check_room(folder: str | Path) -> Path:
    """Returns the folder if a model can be saved there; SettingError for a file or a folder with other content."""
    folder = as_path(folder, "folder")
    empty = folder.is_dir() and not any(folder.iterdir())
    if folder.exists() and not empty and not (folder / NAME).is_file():
        raise SettingError(
            f"{folder} contains something that is not a model",
            wanted="a new folder, or one with an older model",
        )
    return folder
