"""Bytes that grow at their end: in memory up to a limit, beyond it in a temporary file that is mapped to be read.

The file lies in the folder for temporary files (`TMPDIR`), which should be a disk. The operating system deletes
it: on Linux and macOS it has no name, on Windows it goes with its last handle. Pages of the map count as memory of
the process while they are mapped, so readers call `forget` from time to time; the system can take them anyway.
"""

from __future__ import annotations

import mmap
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

from megalabel.storage.files import naming
from megalabel.storage.resident import SPILL_FROM

LIMIT = SPILL_FROM  # bytes that stay in memory
_WRITE = 1 << 20  # bytes that are written at once beyond it

Block = bytes | bytearray | memoryview | mmap.mmap


class Spill:
    """Bytes that are appended, then read.

    Args:
        limit: how many bytes stay in memory; default: `LIMIT`, 64 MiB.

    Raises:
        OSError: the temporary file cannot be written; its `filename` is the folder for temporary files.
    """

    def __init__(self, limit: int | None = None) -> None:
        self._most = LIMIT if limit is None else limit
        self._held, self._n = bytearray(), 0
        self._file: IO[bytes] | None = None

    def __len__(self) -> int:
        return self._n

    def append(self, data: Any) -> None:
        """Appends bytes, or the bytes of a contiguous array."""
        if isinstance(data, np.ndarray):
            data = data.data.cast("B") if data.size else b""
        self._held += data
        self._n += len(data)
        if len(self._held) > self._most:
            self._write()

    def block(self) -> Block:
        """All bytes: as they are in memory, or mapped. Nothing may be appended afterwards."""
        if self._file is None:
            return self._held
        self._write()
        with naming_folder(), self._file as file:
            file.flush()
            return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)

    def array(self, dtype: Any) -> np.ndarray:
        """All bytes as an array of one dimension, which `forget` knows as a map where it is one."""
        if self._file is None:
            return np.frombuffer(self._held, dtype)
        self._write()
        with naming_folder(), self._file as file:
            file.flush()
            return np.memmap(file, dtype, "r")

    def _write(self) -> None:
        """Moves what is in memory to the file."""
        with naming_folder():
            if self._file is None:
                self._file, self._most = tempfile.TemporaryFile(prefix="megalabel-"), _WRITE
            self._file.write(self._held)
        self._held = bytearray()


def forget(block: object) -> None:
    """Lets go of the pages of a map that is only read (`mmap`, or an array over one), until they are used again.

    Does nothing for what is not mapped, and on systems without `madvise`.
    """
    pages: Any = block.obj if isinstance(block, memoryview) else block
    while pages is not None and not isinstance(pages, mmap.mmap):
        pages = getattr(pages, "base", None)  # an array is a view of another one, or of the map
    if pages is not None and hasattr(mmap, "MADV_DONTNEED"):
        pages.madvise(mmap.MADV_DONTNEED)


class SpilledArrays:
    """Arrays (n,) of one dtype that are appended, and then read in that order; the dtype is that of the first."""

    def __init__(self) -> None:
        self._spill, self._ends = Spill(), [0]
        self._all: np.ndarray | None = None
        self._dtype: np.dtype[Any] = np.dtype(np.int8)

    def __len__(self) -> int:
        return len(self._ends) - 1

    def append(self, array: np.ndarray) -> None:
        """Appends an array; not after any were read."""
        self._dtype = array.dtype if len(self) == 0 else self._dtype
        self._spill.append(np.ascontiguousarray(array, dtype=self._dtype))
        self._ends.append(self._ends[-1] + len(array))

    def __iter__(self) -> Iterator[np.ndarray]:
        if self._all is None:
            self._all = self._spill.array(self._dtype)
        whole = np.asarray(self._all)
        for start, stop in pairwise(self._ends):
            yield whole[start:stop]
            forget(self._all)


def naming_folder() -> AbstractContextManager[None]:
    """Names the folder for temporary files in errors such as that of a full disk; the files have no names."""
    return naming(Path(tempfile.gettempdir()), always=True)
