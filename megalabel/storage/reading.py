"""Reads files that may be damaged or made by somebody else: regular files of bounded size, one kind of error.

What is wrong with a folder is always a `FormatError`; a machine that lacks memory or open files is a
`ResourceError`, since copying the folder again would not help.
"""

from __future__ import annotations

import errno
import io
import json
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from megalabel.errors import FormatError, MegalabelError, MissingExtra, ResourceError
from megalabel.storage.limits import out_of_files, too_many_files

LONGEST = 1 << 30  # bytes of a JSON file; the vocabulary of a linear model may take some hundred megabytes
_SHOWN = 200  # characters of another library's message that are repeated
_RIGHTS = (errno.EACCES, errno.EPERM)


def open_regular(path: str | Path) -> io.BufferedReader:
    """Opens a regular file to read; OSError for a pipe or a device, which could block or never end."""
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    handle = os.open(path, flags)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        return open(handle, "rb")
    except BaseException:
        os.close(handle)
        raise


def read_bytes(path: str | Path, limit: int = LONGEST) -> bytes:
    """The content of a regular file of at most `limit` bytes; OSError or ValueError otherwise."""
    with open_regular(path) as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise ValueError(f"more than {limit:,} bytes")
    return content


def parse_json(content: bytes | str) -> Any:
    """The value of a JSON text; ValueError also where it is too deep, or a number has thousands of digits."""
    try:
        return json.loads(content)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error


def refused(
    error: BaseException,
    *,
    wanted: str,
    next_step: str | None,
    where: str | Path,
    what: str = "the folder is damaged",
) -> MegalabelError:
    """The error of megalabel for what went wrong in reading: the machine's lack of something, or the folder's."""
    number = error.errno if isinstance(error, OSError) else None
    if out_of_files(error):
        return too_many_files(where)
    if isinstance(error, MemoryError) or number == errno.ENOMEM or type(error).__name__ == "OutOfMemoryError":
        return ResourceError(
            "there is not enough memory to read it",
            wanted="as much memory as the folder takes on the disk, and some more",
            next_step="free memory, raise the limit (`ulimit -v`), or use another machine",
            where=where,
        )
    if number in _RIGHTS:
        next_step = "give yourself the right to read it"
    found = error.found if isinstance(error, MegalabelError) else brief(error)
    return FormatError(f"{what} ({found})", wanted=wanted, next_step=next_step, where=where)


def brief(error: BaseException) -> str:
    """What another library says, in one line: its message may hold a file's whole content."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    text = " ".join(str(error).split())
    if isinstance(error, KeyError) or not text:
        text = f"{type(error).__name__} {text}".strip()
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


@contextmanager
def reading(
    folder: Path, *, wanted: str, next_step: str | None, what: str = "the folder is damaged"
) -> Iterator[None]:
    """Inside, whatever goes wrong in reading a folder's content becomes a FormatError about the folder.

    Hashes find a file that was changed. What remains are folders that were put together wrongly, or edited and
    hashed again, whose values reach any part of the libraries that are called with them.

    Args:
        folder: where it lies.
        wanted: what should be in it.
        next_step: what to do now.
        what: what is wrong, in general.
    """
    try:
        yield
    except (ResourceError, MissingExtra):
        raise
    except Exception as error:
        if isinstance(error, FormatError) and error.where is not None:
            raise
        raise refused(error, wanted=wanted, next_step=next_step, where=folder, what=what) from error
    except BaseException as error:
        if (
            type(error).__name__ != "PanicException"
        ):  # of libraries in Rust, no Exception: unlike Ctrl-C it is an error
            raise
        raise refused(error, wanted=wanted, next_step=next_step, where=folder, what=what) from error
