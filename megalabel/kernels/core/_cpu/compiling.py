"""Ways to compile: what Python calls, cached on disk, and the helpers that compiled code calls."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

KERNELS = Path(__file__).parents[2]

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
    another file; so a hash of the compiled sources of all families becomes part of what it compares. That takes
    private attributes of numba's, since it offers no other way: with a numba that lacks them, nothing is cached on
    disk, and a numba that has them but no longer compares them fails `tests/kernels/core/test_compiling.py`.
    """
    try:
        fast: Any = numba.njit(cache=True, nogil=True)(function)
        file = fast._cache._cache_file
        file._source_stamp = (file._source_stamp, _sources())
        _drop_unreadable(file)
    except (RuntimeError, AttributeError, OSError):  # RuntimeError: a read-only install without a home
        without_cache: Callable[..., None] = numba.njit(nogil=True)(function)
        return without_cache

    def call(*arguments: Any) -> None:
        try:
            fast(*arguments)
        except OSError:  # the cache could not be saved (a full disk); the code is in memory by now
            fast(*arguments)

    return call


def _drop_unreadable(file: Any) -> None:
    """Empties a cache index that cannot be read, for example one that names types of another version."""
    try:
        file._load_index()
    except OSError:
        raise
    except Exception:  # whatever unpickling may raise
        file.flush()
