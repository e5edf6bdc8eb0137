"""What a finished run leaves behind, or a killed one: removed by whoever holds the run folder's lock."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path

FILES = ("recipe.json", "held_out.npy", "metrics.json")  # written beside and then renamed, as are the models


def tidy(out: Path, models: Iterable[str], rest: Iterable[str]) -> None:
    """Removes `rest` from a run folder, and what was being written when a process was killed.

    Args:
        out: the run folder.
        models: the names of its model folders.
        rest: what only going on needs.
    """
    half_written = [path for name in (*models, *FILES) for path in out.glob(f".{name}.*-*")]
    for path in (*(out / name for name in rest), out / "log.new", *half_written):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
