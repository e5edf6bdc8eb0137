"""A lock on a run folder, so that only one process writes to it; released when the process ends."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from megalabel.errors import SettingError
from megalabel.storage.files import naming

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = ".lock"
_FAR = (
    1 << 30
)  # the byte that Windows locks: what is locked there cannot be read, and the number of the process is
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # on file systems without locks
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_held: dict[Path, int] = {}  # the folders that this process has locked, and the thread of each


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """A context in which no other thread or process writes a run to the folder `out`, which need not exist yet.

    The lock is a lock of the operating system on the file `.lock`, released in any case when the process ends. The
    thread that holds it may acquire it again. On a file system without locks nothing is locked.

    Raises:
        SettingError: another process or thread writes to the folder.
    """
    place = out.resolve()
    if _held.get(place) == threading.get_ident():
        yield
        return
    if out.exists() and not out.is_dir():  # later checks of the folder raise the error
        yield
        return
    made = not out.exists()
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SettingError(
            f"the folder {out} cannot be made ({error.strerror})",
            wanted="a folder that can be written to",
            next_step="give another --out",
            where="out",
        ) from error
    try:
        handle = _locked(out)
    except OSError as error:
        if error.errno not in _READ_ONLY:
            raise
        yield  # a read-only folder: a finished run may be loaded from it, and nobody can write
        return
    _held[place] = threading.get_ident()
    try:
        yield
    finally:
        del _held[place]
        if sys.platform != "win32":  # Windows cannot remove an open file
            (out / NAME).unlink(missing_ok=True)
        os.close(handle)
        if sys.platform == "win32":
            with contextlib.suppress(OSError):  # another process may have opened it
                (out / NAME).unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):  # removes the folder only if it is still empty
                out.rmdir()


def _locked(out: Path) -> int:
    """The handle of the locked lock file, which is checked to be still the one in the folder."""
    path = out / NAME
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    while True:
        handle = os.open(path, flags, 0o644)
        try:
            _lock(handle)
            if _same_file(handle, path):
                with naming(path):
                    os.ftruncate(handle, 0)
                    os.write(handle, f"{os.getpid()}\n".encode())
                return handle
        except BlockingIOError:
            holder = os.read(handle, 32).decode(errors="replace").strip()
            os.close(handle)
            raise in_use(out, holder) from None
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # the previous holder removed the file between our two calls


def in_use(out: Path, holder: str) -> SettingError:
    """The error for a folder to which another process writes."""
    who = f"process {holder}" if holder.isdigit() else "another process"
    return SettingError(
        f"the folder {out} is in use by {who}",
        wanted="a folder to which no other job writes",
        next_step="wait until it has ended, or use another --out",
        where="out",
    )


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _lock(handle: int) -> None:
    """Locks an open file; BlockingIOError if it is locked by another process."""
    if sys.platform == "win32":
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError as error:
            raise BlockingIOError from error
        finally:
            os.lseek(handle, 0, os.SEEK_SET)
        return
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in _UNSUPPORTED:
            raise


def _forget() -> None:
    """Clears the state in a forked child, which holds no lock and must not remove the lock file."""
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
