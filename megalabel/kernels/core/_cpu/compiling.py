"""Decorators that compile functions with numba: entry points, cached on disk, and helpers of compiled code."""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from megalabel.kernels.core._cpu.private_helpers import compiler

KERNELS = Path(__file__).parents[2]
DIGEST = hashlib.sha256().digest_size

helper = numba.njit(nogil=True)
# Sums may be reordered, so that they are vectorized; results do not depend on which thread runs the code.
# NaN and infinities are preserved.
_SUMS = {"reassoc", "contract", "nsz"}
summing = numba.njit(nogil=True, fastmath=_SUMS)
vectorized = numba.njit(nogil=True, error_model="numpy", fastmath={*_SUMS, "arcp"})
# A formula for scalars, which is inlined and vectorized with the loop that calls it.
scalar = numba.njit(inline="always", error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


@functools.cache
def _sources() -> str:
    files = sorted(KERNELS.glob("*/_cpu/*.py"))
    return hashlib.sha256(b"\0".join(file.read_bytes() for file in files)).hexdigest()


def compiled(function: Callable[..., None]) -> Callable[..., None]:
    """Compiles a function on its first call, and caches it on disk if a cache folder is writable.

    numba's disk cache checks the source file of the function only, and would use outdated helpers after a change
    in another file; a hash of the compiled sources of all families is therefore added to its stamp. It also trusts
    its
    files: a file truncated by a power failure would make every later command fail, and a wrong byte would be
    executed as machine code. Each file therefore begins with a hash of its content, and a file that does not match
    is compiled again. Both need private attributes of numba, which has no public interface for this. With a numba
    that lacks them, nothing is cached on disk; a numba that has them but no longer uses them fails
    `tests/kernels/core/test_compiling.py`.
    """
    options: dict[str, Any] = {"nogil": True}
    with contextlib.suppress(ImportError, AttributeError):
        options["pipeline_class"] = compiler()
    try:
        fast: Any = numba.njit(cache=True, **options)(function)
        file = fast._cache._cache_file
        fast._cache._cache_file = checked = object.__new__(_checked_file())
        checked.__dict__.update({**vars(file), "_source_stamp": (file._source_stamp, _sources())})
    except (
        RuntimeError,
        AttributeError,
        ImportError,
        OSError,
    ):  # RuntimeError: a read-only install without a home
        without_cache: Callable[..., None] = numba.njit(**options)(function)
        return without_cache

    def call(*arguments: Any) -> None:
        try:
            fast(*arguments)
        except OSError:  # the cache could not be saved (a full disk), but the code is compiled
            fast(*arguments)

    return call


@functools.cache
def _checked_file() -> type[Any]:
    """numba's class for the cache files of a function, extended by a hash before the content of each file."""
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
            """Reads a file; raises OSError, which numba treats as a missing file, if anything is wrong with it."""
            content = Path(path).read_bytes()
            if hashlib.sha256(content[DIGEST:]).digest() != content[:DIGEST]:
                raise OSError(errno.EIO, "the file is damaged", path)
            try:
                return pickle.loads(content[DIGEST:])
            except Exception as error:  # unpickling may raise anything, such as for types of another version
                raise OSError(errno.EIO, "the file cannot be read", path) from error

        def _write(self, path: str, value: Any) -> None:
            content = self._dump(value)
            with self._open_for_write(path) as file:
                file.write(hashlib.sha256(content).digest() + content)

    return CheckedFile
