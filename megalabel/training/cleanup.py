"""Removes runs, and temporary files of finished and interrupted ones; the caller holds the lock of the folder."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable
from pathlib import Path

from megalabel.training.run_lock import NAME as LOCK
from megalabel.training.run_lock import writing

BASE = "base"  # the run on which the run in the folder builds, if one command trains both
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


def remove_run(out: Path) -> None:
    """Removes the run or search in a folder, if there is one; any other folder is left as it is.

    For the one who holds its lock, which stays.
    """
    base = out / BASE
    if any(path.is_file() for path in (out / "recipe.json", base / "recipe.json", out / "search.json")):
        with writing(base) if base.is_dir() else contextlib.nullcontext():
            for path in out.iterdir():
                if path.name != LOCK:
                    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
