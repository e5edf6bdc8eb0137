"""Tensors on disk: their memory is a mapped file, whose pages the system can write out and read again.

Values are read and written in place, like those of any other tensor, and are not a checkpoint: a killed process
leaves nothing behind. The files have no names on Linux and macOS, and on Windows they go with their last handle.

Pages of a map count as memory of the process while they are mapped. `release_pages` lets go of them where they are
more than 256 MiB; changed pages stay with the system, which writes them to the disk when it needs the memory.
"""

from __future__ import annotations

import contextlib
import errno
import math
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

import torch
from torch import Tensor

from megalabel.errors import ResourceError
from megalabel.storage.resident import RESIDENT

LEAST = 1 << 20  # bytes; smaller tensors stay in memory
_FOLDER: ContextVar[Path | None] = ContextVar("folder of tables", default=None)
_ON_DISK: ContextVar[bool] = ContextVar("tables on disk", default=False)
_MAPS: weakref.WeakValueDictionary[int, mmap.mmap] = weakref.WeakValueDictionary()  # by address
_keep_few = threading.Event()
_before: list[int] = []  # pages of files that were mapped before the first table, such as those of libraries


@contextlib.contextmanager
def tables_in(folder: str | Path) -> Iterator[None]:
    """Within it, tables that are made on disk lie on the disk of `folder`; else in the folder for temporary files.

    The folder may not exist yet; then the files are on the disk of the nearest folder above it that does.
    """
    folder = Path(folder).absolute()
    there = next((path for path in (folder, *folder.parents) if path.is_dir()), None)
    before = _FOLDER.set(there)
    try:
        yield
    finally:
        _FOLDER.reset(before)


@contextlib.contextmanager
def tables_on_disk() -> Iterator[None]:
    """Within it, `new_table` makes tables on disk."""
    before = _ON_DISK.set(True)
    try:
        yield
    finally:
        _ON_DISK.reset(before)


def new_table(shape: Sequence[int], dtype: torch.dtype = torch.float32) -> Tensor:
    """A tensor of zeros on the CPU; on disk within `tables_on_disk` if it takes 1 MiB or more."""
    if _ON_DISK.get() and math.prod(shape) * dtype.itemsize >= LEAST:
        return mapped(shape, dtype)
    return torch.zeros(*shape, dtype=dtype)


def zeros_beside(weight: Tensor, shape: Sequence[int] | None = None, dtype: torch.dtype | None = None) -> Tensor:
    """Zeros for the optimizer state of a weight: on disk where the weight is, else on its device.

    shape, dtype: by default those of the weight.
    """
    shape, dtype = weight.shape if shape is None else shape, dtype or weight.dtype
    if is_mapped(weight) and math.prod(shape) * dtype.itemsize >= LEAST:
        return mapped(shape, dtype)
    return torch.zeros(*shape, dtype=dtype, device=weight.device)


def mapped(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """A tensor of zeros in a file of its own.

    Raises:
        ResourceError: there is not enough space on the disk, or the folder cannot be written to.
    """
    size, folder = math.prod(shape) * dtype.itemsize, _FOLDER.get() or Path(tempfile.gettempdir())
    try:
        with tempfile.TemporaryFile(prefix=".megalabel-table-", dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # a full disk would otherwise kill the process at a later write
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.truncate(size)
            pages = mmap.mmap(file.fileno(), size)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise ResourceError(
            f"a table of {size / 1e6:,.0f} MB cannot be made on disk ({error.strerror or error})",
            wanted=f"{size / 1e6:,.0f} MB of free space" if full else "a folder that can be written to",
            next_step=f"{'free space there, or ' * full}use another --out (in Python: TMPDIR or `tables_in`)",
            where=folder,
        ) from error
    if not _before:
        _before.append(_mapped_pages())
    flat = torch.frombuffer(pages, dtype=torch.uint8)
    _MAPS[flat.data_ptr()] = pages
    return flat.view(dtype).view(*shape)


def is_mapped(tensor: Tensor) -> bool:
    """Whether a tensor is on disk."""
    return bool(_MAPS) and tensor.device.type == "cpu" and tensor.untyped_storage().data_ptr() in _MAPS


def any_mapped(tensors: Iterator[Tensor]) -> bool:
    """Whether one of several tensors is on disk."""
    return any(is_mapped(tensor) for tensor in tensors)


def fetch_rows(table: Tensor, starts: Tensor, ends: Tensor) -> None:
    """Tells the system that ranges of rows of a table on disk will be read, so that it reads all of them at once.

    Without it, the process waits for one page after the other. Does nothing for a table in memory, and on systems
    without `madvise`.

    Args:
        table: (n, …), contiguous.
        starts, ends: (m,) int64, ascending and without overlap: rows starts[j] to ends[j] - 1.
    """
    pages = _MAPS.get(table.untyped_storage().data_ptr()) if is_mapped(table) else None
    if pages is None or not len(starts) or not hasattr(mmap, "MADV_WILLNEED"):
        return
    width, before = table[:1].numel() * table.element_size(), table.storage_offset() * table.element_size()
    first = (before + starts * width) // mmap.PAGESIZE
    last = (before + ends * width - 1) // mmap.PAGESIZE
    apart = first[1:] > last[:-1] + 1  # neighbors become one range
    begins = first[torch.nn.functional.pad(apart, (1, 0), value=True)].tolist()
    stops = last[torch.nn.functional.pad(apart, (0, 1), value=True)].tolist()
    for begin, stop in zip(begins, stops, strict=True):
        pages.madvise(mmap.MADV_WILLNEED, begin * mmap.PAGESIZE, (stop - begin + 1) * mmap.PAGESIZE)


def keep_few_pages() -> None:
    """From now on `release_pages(touched=True)` releases pages as well, for a training within a given memory."""
    _keep_few.set()


def release_pages(*, touched: bool = False) -> None:
    """Lets go of the pages of all tables on disk where they are more than `RESIDENT` bytes.

    touched: whether the pages are those of rows that a step has moved, which the next one may need again. They
        stay as long as the system has room for them, unless `keep_few_pages` was called.

    Cheap where there are no such tables. Any thread may call it while others read or write the tables. Does
    nothing on systems other than Linux, which take pages from a process by themselves.
    """
    if touched and not _keep_few.is_set():
        return
    if _MAPS and _before and (_mapped_pages() - _before[0]) * mmap.PAGESIZE > RESIDENT:
        for pages in list(_MAPS.values()):
            pages.madvise(mmap.MADV_DONTNEED)


def _mapped_pages() -> int:
    """The pages of files that are now mapped; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return int(file.read().split()[2])
    except OSError:
        return 0
