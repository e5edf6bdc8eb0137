"""One writer in a run folder: a lock that ends with the process that holds it."""

from __future__ import annotations

import contextlib
import errno
import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

from megalabel.errors import SettingError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

NAME = ".lock"
_FAR = (
    1 << 30
)  # the byte that Windows locks: what is locked there cannot be read, and the number of the process is
_UNSUPPORTED = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL}  # of file systems without locks
_READ_ONLY = {errno.EROFS, errno.EACCES, errno.EPERM}
_held: dict[Path, int] = {}  # the folders that threads of this process write, and the thread of each


@contextlib.contextmanager
def writing(out: Path) -> Iterator[None]:
    """Within the block, no other thread or process writes a run into the folder `out`, which may still be missing.

    The lock is the system's, on the file `.lock`: it ends with the process, however that ends. The thread that
    holds it may ask for it again. On a file system that knows no locks nothing is locked.

    Raises:
        SettingError: another process or thread writes there.
    """
    place = out.resolve()
    if _held.get(place) == threading.get_ident():
        yield
        return
    if out.exists() and not out.is_dir():  # refused with its reason by those who look into the folder
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
        yield  # a finished run may be loaded from there, and nobody can write anything
        return
    _held[place] = threading.get_ident()
    try:
        yield
    finally:
        del _held[place]
        if sys.platform != "win32":  # where an open file cannot be removed
            (out / NAME).unlink(missing_ok=True)
        os.close(handle)
        if sys.platform == "win32":
            with contextlib.suppress(OSError):  # another process has it open by now
                (out / NAME).unlink(missing_ok=True)
        if made:
            with contextlib.suppress(OSError):  # no run was made in it, or there is one
                out.rmdir()


def _locked(out: Path) -> int:
    """A handle of the lock file, locked, that is still the one in the folder."""
    path = out / NAME
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_NOFOLLOW", 0)
    while True:
        handle = os.open(path, flags, 0o644)
        try:
            _lock(handle)
            if _same_file(handle, path):
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
        os.close(handle)  # the one who held it removed the file between our two calls


def in_use(out: Path, holder: str) -> SettingError:
    """The error for a folder that a process writes."""
    who = f"process {holder}" if holder.isdigit() else "another process"
    return SettingError(
        f"the run folder {out} is in use by {who}",
        wanted="a folder that no other training writes",
        next_step="wait until that one has ended, or give another --out",
        where="out",
    )


def _same_file(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _lock(handle: int) -> None:
    """Locks an open file; BlockingIOError where another has it."""
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
    """A forked child holds no lock: it must neither write there nor remove the file."""
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
