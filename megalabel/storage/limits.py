"""Tells the limits of a process apart from damage: too many open files say nothing about the folder read."""

from __future__ import annotations

import errno

from megalabel.errors import ResourceError

_ERRNOS = (errno.EMFILE, errno.ENFILE)


def out_of_files(error: BaseException | None) -> bool:
    """Whether an error, or one that it was raised from, is that this process may open no more files."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        # Libraries in Rust report the number of the system's error in their message only.
        if (isinstance(error, OSError) and error.errno in _ERRNOS) or f"os error {errno.EMFILE})" in str(error):
            return True
        error = error.__cause__ or error.__context__
    return False


def too_many_files(where: object = None) -> ResourceError:
    """The error where the limit of open files is reached; `where` is what was being read."""
    return ResourceError(
        "too many open files: this process may open no more",
        wanted="a limit of at least 1,024 open files",
        next_step="raise it in this shell with `ulimit -n 4096`, then repeat the command",
        where=None if where is None else str(where),
    )
