"""Renames files and folders, which Windows refuses while a program has a file that is moved or replaced open."""

from __future__ import annotations

import os
import time
from pathlib import Path

from megalabel.errors import ResourceError

# Errors of Windows by `OSError.winerror`: access denied, sharing violation, a section of the file is mapped.
OPEN_ELSEWHERE = frozenset((5, 32, 1224))
PAUSES = (0.01, 0.05, 0.2, 0.5, 1.0)  # seconds between attempts: virus scanners open new files briefly


def move(source: Path, target: Path, path: Path) -> None:
    """Gives a file or folder another name on the same disk; a file of that name is replaced.

    On Windows waits up to two seconds for programs that have it open.

    Args:
        source, target: the names, one of which may be temporary.
        path: the name that the caller knows, for messages.

    Raises:
        ResourceError: on Windows, the file, or one in the folder, stays open in this process or another.
        OSError: everything else that the system says.
    """
    for pause in (*PAUSES, None):
        try:
            os.replace(source, target)
            return
        except OSError as error:
            if getattr(error, "winerror", None) not in OPEN_ELSEWHERE:
                raise
            if pause is None:
                raise ResourceError(
                    f"{path}, or a file in it, is open in this program or another ({error.strerror})",
                    wanted="files that no program uses: Windows replaces no others",
                    next_step="close the programs and models that use it, or write to another path",
                ) from error
            time.sleep(pause)
