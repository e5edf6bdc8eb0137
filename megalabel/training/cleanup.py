"""Removes temporary files of finished and interrupted runs; the caller must hold the lock of the run folder."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

FILES = ("recipe.json", "held_out.npy", "metrics.json")  # written under a temporary name first, as models are


def remove_temporary_files(out: Path, models: Iterable[str], rest: Iterable[str]) -> None:
    """Removes `rest` from a run folder, and files that were incomplete when a process was killed.

    Args:
        out: the run folder.
        models: the names of its model folders.
        rest: the names of files and folders that are needed only to resume.
    """
    incomplete = [path for name in (*models, *FILES) for path in out.glob(f".{name}.*-*")]
    for path in (*(out / name for name in rest), out / "log.new", *incomplete):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
