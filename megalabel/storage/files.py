"""Writes files and folders atomically: a crash leaves either the old or the new one, never a part of one."""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from megalabel.errors import FormatError, ResourceError, SettingError
from megalabel.storage.moving import move
from megalabel.storage.paths import as_path
from megalabel.storage.reading import LONGEST, open_regular, parse_json, read_bytes, refused

# Flags of a new file: never one that is there already, and never through a link that somebody else laid.
_NEW = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
RENAMES = 8  # how often a folder is moved out of the way that other writers put there at the same moment


@contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Yields a new folder to fill, which replaces `path` only if the block ends without an error."""
    path = as_path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, "new")
    temporary.mkdir()  # fails where anything is there, a link included
    try:
        with naming(path):
            yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                sync(file)
        sync(temporary)
        replaced = _beside(path, "old")
        for last in (False,) * RENAMES + (True,):
            try:
                if os.path.lexists(path):
                    move(path, replaced, path)
                _move_in(temporary, path, replaced)
                break
            except OSError as error:  # between the renames another writer put a folder there
                if last or error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                    raise
        sync(path.parent)
        _remove(replaced)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


@contextmanager
def naming(path: Path, *, always: bool = False) -> Iterator[None]:
    """Names a file or folder in errors of the system that name none, such as that of a full disk; or in all."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and (always or error.filename is None):
            error.filename = str(path)
        raise


def recover(path: str | Path) -> None:
    """Restores the folder that a crash between the two renames of `atomic_folder` left under another name.

    For the one who writes the folder alone: a reader takes `latest`, since it would disturb a writer.
    """
    path = Path(path)
    there = latest(path)
    if there != path:
        move(there, path, path)


def latest(path: str | Path) -> Path:
    """The folder to read: `path`, or where that is missing the one that `atomic_folder` has moved aside."""
    path = Path(path)
    if not os.path.lexists(path) and path.parent.is_dir():
        aside = list(path.parent.glob(f".{glob.escape(path.name)}.old-*"))
        if aside:
            return max(aside, key=_age)
    return path


def _move_in(new: Path, path: Path, replaced: Path) -> None:
    """Gives a new folder its name, or the replaced one, if there is one, its name back."""
    try:
        move(new, path, path)
    except ResourceError:
        if replaced.exists():
            move(replaced, path, path)
        raise


def _remove(path: Path) -> None:
    """Removes a folder, or a link to one, if it is there."""
    if path.is_symlink():
        path.unlink(missing_ok=True)
    else:
        shutil.rmtree(path, ignore_errors=True)


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # gone by now
        return float("-inf")


@contextmanager
def write_bytes_atomically(path: str | Path) -> Iterator[BinaryIO]:
    """Yields a file to write to, which replaces `path` only if the block ends without an error.

    A named pipe or a device is written to as it is: it cannot be replaced by a file of the same name.

    Raises:
        SettingError: `path` is no path, or a folder.
    """
    path = as_path(path)
    if path.is_dir():
        raise SettingError(f"{path} is a folder", wanted="the name of a file", next_step="add a file name to it")
    if path.exists() and not path.is_file():
        with naming(path), open(path, "wb") as file:
            yield file
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = _beside(path, "new")
    handle = os.open(temporary, _NEW, 0o666)
    try:
        with naming(path), open(handle, "wb") as file:
            yield file
        sync(temporary)
        move(temporary, path, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: str | Path, text: str) -> None:
    """Writes a text file in UTF-8, completely or not at all."""
    with write_bytes_atomically(path) as file:
        file.write(text.encode("utf-8"))


def write_json(path: str | Path, value: Any) -> None:
    """Writes an indented JSON file, completely or not at all."""
    with write_bytes_atomically(path) as file:
        file.write(json_bytes(value, indent=2) + b"\n")


def json_bytes(value: Any, *, indent: int | None = None) -> bytes:
    """JSON in UTF-8; half a surrogate pair, which UTF-8 cannot hold, becomes a JSON escape."""
    return json.dumps(value, indent=indent, ensure_ascii=False).encode("utf-8", "backslashreplace")


def read_json(path: str | Path, *, next_step: str | None, limit: int = LONGEST) -> dict[str, Any]:
    """Reads a JSON object from a file that megalabel wrote; FormatError if it is missing or damaged."""
    path = Path(path)
    try:
        value = parse_json(read_bytes(path, limit))
    except FileNotFoundError:
        raise FormatError(
            "the file is missing", wanted="a file that megalabel wrote", next_step=next_step, where=path
        ) from None
    except (OSError, ValueError, MemoryError) as error:
        raise refused(error, wanted="JSON", next_step=next_step, where=path, what="the file is damaged") from error
    if not isinstance(value, dict):
        raise FormatError(
            f"holds a {type(value).__name__}", wanted="a JSON object", next_step=next_step, where=path
        )
    return value


def sha256(path: str | Path) -> str:
    """The SHA-256 of the content of a regular file, in hexadecimal."""
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync(path: Path) -> None:
    """Flushes a file or folder to the disk."""
    if path.is_dir():
        if os.name == "nt":  # Windows has no handle by which a folder can be flushed.
            return
        handle = os.open(path, os.O_RDONLY)
    else:
        handle = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))  # Windows flushes writable handles only.
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def folder_bytes(folder: Path) -> int:
    """The bytes of all files in a folder and its folders."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _beside(path: Path, kind: str) -> Path:
    """A temporary name in the folder of `path`, which nobody can foresee."""
    path = path if path.name not in ("", "..") else path.resolve()
    if not path.name:
        raise SettingError(f"{path} has no name", wanted="a file or folder in it", next_step="add a name to it")
    return path.with_name(f".{path.name}.{kind}-{secrets.token_hex(8)}")
