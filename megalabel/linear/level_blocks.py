"""Makes a level of a linear tree block by block, so that memory does not grow with the weights of the level."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import scipy.sparse as sp

from megalabel.kernels.linear.chunk_files import ChunkFiles
from megalabel.kernels.linear.compact_chunks import compact, stored_type
from megalabel.kernels.linear.sparse_chunks import Chunks

BLOCK = 1 << 22  # feature values of texts, or weights, of the parents that are made in one call


def level_of(make: Callable[[range], Chunks | None], blocks: list[range], files: ChunkFiles) -> Chunks | None:
    """The chunks of a level, in files if there are several blocks, as the weights may not fit into memory.

    Args:
        make: makes the chunks of some parents, with float32 values and int32 features; None in a process that does
            not hold the tree.
        blocks: the parents of each call, all of them in their order.
        files: the files of the level.
    """
    if len(blocks) == 1:
        chunks = make(blocks[0])
        return None if chunks is None else compact(chunks, files.weights)
    with files:
        found = [_added(files, make(block)) for block in blocks]
        return files.finish() if all(found) else None


def changed_level(level: Chunks, make: Callable[[range], Chunks], values: np.ndarray) -> Chunks:
    """A level with other weights, which are stored in the type of those that it has.

    Args:
        level: the level.
        make: makes the chunks of some parents; see `level_of`.
        values: (M,) integers, the values of each parent; see `even_blocks`.
    """
    files = ChunkFiles(level.n_features, level.offsets, stored_type(level))
    made = level_of(make, even_blocks(values), files)
    assert made is not None
    return made


def _added(files: ChunkFiles, chunks: Chunks | None) -> bool:
    if chunks is not None:
        files.add(chunks)
    return chunks is not None


def text_values(texts: sp.csr_matrix, x: sp.csr_matrix) -> np.ndarray:
    """The feature values in rows of x (N, V) of the texts of each parent, from (M, N) CSR: (M,) int64."""
    sums = np.append(0, np.cumsum(np.diff(x.indptr)[texts.indices], dtype=np.int64))
    found: np.ndarray = np.diff(sums[texts.indptr])
    return found


def even_blocks(values: np.ndarray) -> list[range]:
    """Divides parents into similar blocks of about `BLOCK` values each.

    values: (M,) integers, the values of each parent.
    """
    sums = np.append(0, np.cumsum(values, dtype=np.int64))
    n_blocks = max(1, -(-int(sums[-1]) // BLOCK))
    cuts = np.unique(np.searchsorted(sums, sums[-1] * np.arange(1, n_blocks) // n_blocks))
    ends = [0, *cuts[(cuts > 0) & (cuts < len(values))].tolist(), len(values)]
    return [range(first, last) for first, last in pairwise(ends)]
