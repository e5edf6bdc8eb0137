"""The folder of a model: its manifest, its format, and whether there is room for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from megalabel.errors import RESTORE_FOLDER, SettingError
from megalabel.storage import migrate
from megalabel.storage.manifest import NAME, check_listed, read_manifest
from megalabel.storage.paths import as_path

FORMAT = 1
# Of models with weights of 16 or 8 bits or compact trees: releases that do not know these refuse the number.
NARROW_FORMAT = 2


def read_model_manifest(
    folder: Path,
    what: str,
    *,
    facts: Iterable[str] = (),
    files: Iterable[str] = (),
    next_step: str = RESTORE_FOLDER,
) -> dict[str, Any]:
    """The manifest of a model with current names, after checking hashes; raises as `read_manifest` does."""
    manifest = read_manifest(folder, what, NARROW_FORMAT, oldest=FORMAT, files=files, next_step=next_step)
    manifest = migrate.model_manifest(manifest)
    check_listed(manifest, what, folder, facts=facts, next_step=next_step)
    return manifest


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
