"""Standard streams and the ends of commands: narrow encodings, closed streams, and errors as one line."""

from __future__ import annotations

import contextlib
import errno
import io
import os
import sys
import tempfile
from typing import NoReturn

import typer

from megalabel.errors import MegalabelError
from megalabel.storage.limits import out_of_files, too_many_files

# What to do about errors of the system, by their numbers.
ADVICE = {
    errno.EEXIST: "Check the path: a part of it is a file.",
    errno.ENOSPC: "Free some space on the disk, or write elsewhere.",
    errno.EDQUOT: "Your quota is used up: remove some files, or write elsewhere.",
    errno.EROFS: "The disk is read-only: write elsewhere.",
    errno.EACCES: "Check the permissions of the file and its folder.",
    errno.EPERM: "Check the permissions of the file and its folder.",
    errno.ENOENT: "Check the path.",
    errno.ENOTDIR: "Check the path: a part of it is a file.",
    errno.EISDIR: "Give the name of a file, not of a folder.",
    errno.ENAMETOOLONG: "Give a shorter name.",
}


def prepare_streams() -> None:
    """Makes standard streams take any character, and keeps the numbers of closed ones from being used by files.

    A character that the encoding of a stream lacks is written as its escape. Where standard error is closed,
    messages go nowhere.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    for number in range(3):  # else the next file that is opened would be standard output
        with contextlib.suppress(OSError):
            os.fstat(number)
            continue
        with contextlib.suppress(OSError):
            os.open(os.devnull, os.O_RDWR)
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w", encoding="utf-8", errors="backslashreplace")


def to_stderr(line: str) -> None:
    """Writes a line to standard error."""
    typer.echo(line, err=True)


def message(error: MegalabelError | OSError | MemoryError) -> str:
    """What went wrong and what to do about it, as one line."""
    if out_of_files(error):
        return str(too_many_files(getattr(error, "where", None) or getattr(error, "filename", None)))
    if isinstance(error, MegalabelError):
        return str(error)
    if isinstance(error, MemoryError):
        return (
            f"out of memory ({error or 'no details'}). Give a smaller -k or --batch-size, or fewer texts at once."
        )
    place = f"{error.filename}: " if error.filename else ""
    advice = ADVICE.get(error.errno or 0, "Check the path, its permissions and the space on the disk.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT) and error.filename == tempfile.gettempdir():
        advice = "Free some space there, or set TMPDIR to a folder on another disk."
    return f"{place}{error.strerror or error}. {advice}"


def of_several() -> bool:
    """Whether this process is one of several that torchrun has started."""
    return os.environ.get("WORLD_SIZE", "1") not in ("", "0", "1")


def fail(error: MegalabelError | OSError | MemoryError) -> NoReturn:
    """Ends the process with the exit status of an error, and prints it.

    In a job of several processes the one that `speaker` names prints it.
    """
    several, rank = of_several(), os.environ.get("RANK")
    speaker, process = getattr(error, "speaker", None), getattr(error, "process", None)
    if not several or speaker is None or str(speaker) == rank:
        place = f"process {process}: " if several and process is not None else ""
        sys.stderr.write(f"megalabel: {place}{message(error)}\n")
    sys.exit(getattr(error, "exit_code", MegalabelError.exit_code))


def flush() -> None:
    """Writes out what standard output still holds, so that a full disk is an error and not a lost table."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        # Python would try again at its end, and fail with a message of its own.
        sys.stdout = open(os.devnull, "w", encoding="utf-8")
        raise
