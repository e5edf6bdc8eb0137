"""Collects the chunks of a level block by block, with the large arrays in temporary files instead of memory.

They lie in the folder for temporary files (`TMPDIR`), and are joined and mapped into memory when the level is
complete. The operating system deletes them: on Linux and macOS they have no names, on Windows they go with their
last handle. A complete level keeps one file open, since each map holds a file descriptor, and a process may have
only 256 of them.
"""

from __future__ import annotations

import contextlib
import math
import shutil
import tempfile
from typing import IO, Self

import numpy as np

from megalabel.kernels.linear._chunk_checks import ROWS_PER_ENTRY
from megalabel.kernels.linear.compact_chunks import LONGEST_ROW, StoredWeights, compact, short_features_pay
from megalabel.kernels.linear.sparse_chunks import Chunks, narrow_integers
from megalabel.storage.spill import forget, naming_folder

_BLOCK = ROWS_PER_ENTRY << 20  # rows that are summed at a time
_NARROW = 1 << 32  # entries that uint32 can count
_ALIGNED = 64  # bytes at which arrays begin


class ChunkFiles:
    """The chunks of one level, of which blocks of parents arrive in order; a context manager.

    Args:
        n_features: V.
        offsets: (P + 1,) int64: the children of parent p are nodes offsets[p] up to offsets[p + 1].
        weights: the type in which weights are stored.
    """

    def __init__(self, n_features: int, offsets: np.ndarray, weights: StoredWeights) -> None:
        self._n_features, self._offsets, self.weights = n_features, offsets, weights
        width = int(np.diff(offsets).max())
        self._children, self._with_lengths = narrow_integers(width), width <= LONGEST_ROW
        self._short_features: bool | None = None  # decided by the first block
        self._files: dict[str, _Growing] = {}
        self._starts: list[np.ndarray] = [np.zeros(1, np.int64)]
        self._biases: list[np.ndarray] = []
        self._scales: list[np.ndarray] = []
        self._n_rows = self._n_entries = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for file in self._files.values():
            with contextlib.suppress(OSError):  # after a failed write it would fail once more
                file.close()  # maps stay

    def add(self, part: Chunks) -> None:
        """Appends the chunks of the next parents, which hold float32 values and int32 features."""
        if self._short_features is None:
            self._short_features = short_features_pay(part)
        n_entries = part.entries[:-1].astype(np.int64)
        part = compact(part, self.weights, short_features=self._short_features)
        self._append("features", part.features)
        self._append("children", part.children.astype(self._children, copy=False))
        self._append("values", part.values)
        if self._with_lengths:
            self._append("lengths", np.empty(0, np.uint8) if part.lengths is None else part.lengths)
        else:
            self._append_ends(n_entries + self._n_entries, self._n_entries + len(part.children))
        if part.dense is not None:
            self._append("dense", part.dense)
        self._starts.append(part.starts[1:] + self._n_rows)
        self._biases.append(part.bias)
        if part.scales is not None:
            self._scales.append(part.scales)
        self._n_rows += len(part.features)
        self._n_entries += len(part.children)

    def finish(self) -> Chunks:
        """The level, over memory-mapped arrays. DataError if blocks are missing."""
        if self._with_lengths:
            self._append_entries()
        else:
            self._append_ends(np.array([self._n_entries]), self._n_entries)
        whole, mapped = _joined(self._files)
        small = {"starts": np.concatenate(self._starts), "bias": np.concatenate(self._biases)}
        if self._scales:
            small["scales"] = np.concatenate(self._scales)
        made = Chunks(self._n_features, offsets=self._offsets, **small, **mapped)
        forget(whole)
        return made

    def _append_ends(self, entries: np.ndarray, largest: int) -> None:
        """Where the entries of each row begin: uint32 until there are too many, then int64."""
        file = self._files.get("entries")
        if largest >= _NARROW and file is not None and file.kind == np.uint32:
            self._files["entries"] = file.widened(np.int64)
        kind = np.uint32 if largest < _NARROW else np.int64
        self._append("entries", entries.astype(kind))

    def _append_entries(self) -> None:
        """Where the entries of every eighth row begin, from the lengths of all rows, and the end."""
        kind = np.uint32 if self._n_entries < _NARROW else np.int64
        lengths, total = self._files["lengths"].mapped(), 0
        for start in range(0, self._n_rows, _BLOCK):
            own = lengths[start : start + _BLOCK]
            sums = np.add.reduceat(own, np.arange(0, len(own), ROWS_PER_ENTRY), dtype=np.int64)
            sums += np.minimum(len(own) - np.arange(0, len(own), ROWS_PER_ENTRY), ROWS_PER_ENTRY)
            ends = total + np.cumsum(sums)
            self._append("entries", (ends - sums).astype(kind))
            total = int(ends[-1])
        self._append("entries", np.array([total], kind))

    def _append(self, name: str, array: np.ndarray) -> None:
        if name not in self._files:
            self._files[name] = _Growing(array)
        self._files[name].append(array)


class _Growing:
    """An array in a temporary file that grows along its first dimension."""

    def __init__(self, like: np.ndarray) -> None:
        self._file: IO[bytes] = tempfile.TemporaryFile(prefix="megalabel-")
        self.kind, self._rest, self._n = like.dtype, like.shape[1:], 0

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape so far."""
        return self._n, *self._rest

    @property
    def n_bytes(self) -> int:
        """The size so far."""
        return math.prod(self.shape) * self.kind.itemsize

    def append(self, array: np.ndarray) -> None:
        if array.size:
            with naming_folder():
                self._file.write(memoryview(np.ascontiguousarray(array, dtype=self.kind)).cast("B"))
        self._n += len(array)

    def close(self) -> None:
        self._file.close()

    def mapped(self) -> np.ndarray:
        """The array so far; not mapped if it is empty."""
        if not self.n_bytes:
            return np.empty(self.shape, self.kind)
        return self.map(self.kind, self.shape)

    def map(self, kind: np.dtype, shape: tuple[int, ...]) -> np.memmap:
        """The file as an array of this dtype and shape."""
        with naming_folder():
            self._file.flush()
        return np.memmap(self._file, dtype=kind, mode="r", shape=shape)

    def widened(self, kind: type) -> _Growing:
        """The same numbers as another dtype in a new file; this one is closed."""
        new, array = _Growing(np.empty(0, kind)), self.mapped()
        for start in range(0, self._n, _BLOCK):
            new.append(array[start : start + _BLOCK])
        self.close()
        return new

    def take(self, other: _Growing, at: int) -> None:
        """Appends the bytes of another file, which is closed, at an offset at or after the end of this one."""
        with naming_folder():
            self._file.seek(at)
            other._file.seek(0)
            shutil.copyfileobj(other._file, self._file, 1 << 20)
            other.close()


def _joined(files: dict[str, _Growing]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """One map of bytes, and the arrays in it: all are appended to the file of the largest one."""
    names = sorted(files, key=lambda name: -files[name].n_bytes)
    largest, starts, end = files[names[0]], {names[0]: 0}, files[names[0]].n_bytes
    for name in names[1:]:
        if files[name].n_bytes:
            end = -(-end // _ALIGNED) * _ALIGNED
            largest.take(files[name], end)
        starts[name], end = end, end + files[name].n_bytes
    whole: np.ndarray = largest.map(np.dtype(np.uint8), (end,)) if end else np.empty(0, np.uint8)
    arrays = {
        name: whole[start : start + files[name].n_bytes].view(files[name].kind).reshape(files[name].shape)
        for name, start in starts.items()
    }
    return whole, arrays
