"""Ways to compile: what Python calls, cached on disk, and the helpers that compiled code calls."""

from __future__ import annotations

import errno
import functools
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

KERNELS = Path(__file__).parents[2]
DIGEST = hashlib.sha256().digest_size

helper = numba.njit(nogil=True)
# A sum may be reordered, which makes it vector code: the same code for the same row, whichever thread runs it.
# NaN and infinities keep their meaning.
_SUMS = {"reassoc", "contract", "nsz"}
summing = numba.njit(nogil=True, fastmath=_SUMS)
vectorized = numba.njit(nogil=True, error_model="numpy", fastmath={*_SUMS, "arcp"})
# A formula for single numbers, which becomes part of the vector code of the loop that calls it.
scalar = numba.njit(inline="always", error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@functools.cache
def _sources() -> str:
    files = sorted(KERNELS.glob("*/_cpu/*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """`function`, compiled on its first call and cached on disk where a place for that can be written.

    numba's disk cache compares the file of the function alone, and would go on with old helpers after a change in
    another file; so a hash of the compiled sources of all families becomes part of what it compares. It also
    trusts its files: one that a power cut left empty would end every later command, and one with a wrong byte is
    machine code. So each file begins with the hash of the rest, and what does not fit is compiled again. Both
    take private attributes of numba's, since it offers no other way: with a numba that lacks them, nothing is
    cached on disk, and a numba that has them but no longer uses them fails `tests/kernels/core/test_compiling.py`.
    """
    try:
        fast: Any = numba.njit(cache=True, nogil=True)(function)
        file = fast._cache._cache_file
        fast._cache._cache_file = checked = object.__new__(_checked_file())
        checked.__dict__.update({**vars(file), "_source_stamp": (file._source_stamp, _sources())})
    except (
        RuntimeError,
        AttributeError,
        ImportError,
        OSError,
    ):  # RuntimeError: a read-only install without a home
        without_cache: Callable[..., None] = numba.njit(nogil=True)(function)
        return without_cache

    def call(*arguments: Any) -> None:
        try:
            fast(*arguments)
        except OSError:  # the cache could not be saved (a full disk); the code is in memory by now
            fast(*arguments)

    return call


@functools.cache
def _checked_file() -> type[Any]:
    """numba's class of a function's cache files, with a hash before the content of each."""
    from numba.core.caching import IndexDataCacheFile

    class CheckedFile(IndexDataCacheFile):  # type: ignore[misc]
        def _load_index(self) -> Any:
            try:
                version, stamp, overloads = self._read(self._index_path)
            except OSError:
                return {}
            return overloads if (version, stamp) == (self._version, self._source_stamp) else {}

        def _save_index(self, overloads: Any) -> None:
            self._write(self._index_path, (self._version, self._source_stamp, overloads))

        def _load_data(self, name: str) -> Any:
            return self._read(self._data_path(name))

        def _save_data(self, name: str, data: Any) -> None:
            self._write(self._data_path(name), data)

        def _read(self, path: str) -> Any:
            """OSError, which numba takes for a file that is not there, for whatever is wrong with it."""
            content = Path(path).read_bytes()
            if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
                raise OSError(errno.EIO, "the file is damaged", path)
            try:
                return pickle.loads(content[DIGEST:])
            except Exception as error:  # whatever unpickling may raise, where types of another version are named
                raise OSError(errno.EIO, "the file cannot be read", path) from error

        def _write(self, path: str, value: Any) -> None:
            content = self._dump(value)
            with self._open_for_write(path) as file:
                file.write(hashlib.sha256(content).digest() + content)

    return CheckedFile
