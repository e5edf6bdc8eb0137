"""Divides linear problems among the processes of a job; the main process receives the weights of all of them."""

from __future__ import annotations

import zlib
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.distributed.objects import gather_objects
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.kernels.linear.dual_descent import LinearWeights, descend, descend_some
from megalabel.labels.tree import LabelTree

LANES = 16  # siblings that are solved together, which stay in one process


class SharedDescent:
    """`descend`, of which each process fits some children; the result is that of one process, bit for bit.

    Every process calls it at the same time with equal arguments. The children are divided into ranges of about the
    same number of feature values to read.

    Args:
        world: the processes.
    """

    def __init__(self, world: World) -> None:
        self.world = world

    def __call__(
        self, x: sp.csr_matrix, texts: sp.csr_matrix, offsets: np.ndarray, positives: sp.csr_matrix, **options: Any
    ) -> LinearWeights | None:
        """The weights of all children in the main process, None in the others; see `descend` for the arguments."""
        if self.world.size == 1:
            return descend(x, texts, offsets, positives, **options)
        entries = np.append(0, np.cumsum(np.diff(x.indptr)[texts.indices], dtype=np.int64))[texts.indptr]
        borders = even_borders(offsets, np.diff(entries), self.world.size)
        own = range(*borders[self.world.rank : self.world.rank + 2])
        found = descend_some(own, x, texts, offsets, positives, **options)
        return self._collected(found, [last - first for first, last in pairwise(borders)])

    def _collected(self, found: LinearWeights, sizes: list[int]) -> LinearWeights | None:
        """The rows of all processes, one after the other."""
        import torch

        from megalabel.distributed.collecting import rows_to_main
        from megalabel.distributed.collectives import gather_rows

        world, sparse = self.world, found.sparse
        n_entries = gather_rows(torch.tensor([sparse.nnz]), [1] * world.size, world).tolist()
        lengths = torch.from_numpy(np.diff(sparse.indptr).astype(np.int64))
        parts = [
            rows_to_main(torch.from_numpy(part), n, world)
            for part, n in (
                (lengths.numpy(), sizes), (sparse.indices.astype(np.int32), n_entries), (sparse.data, n_entries),
                (found.dense, sizes),
            )
        ]  # fmt: skip
        arrays = [part.numpy() for part in parts if part is not None]
        if not arrays:
            return None
        counts, columns, values, dense = arrays
        indptr = np.append(0, np.cumsum(counts))
        return LinearWeights(sp.csr_matrix((values, columns, indptr), shape=(len(dense), sparse.shape[1])), dense)


def even_borders(offsets: np.ndarray, entries: np.ndarray, size: int) -> list[int]:
    """Divides the children of parents into ranges of similar work, between blocks of siblings: (W + 1) numbers.

    Args:
        offsets: (M + 1,) integers, the children of each parent.
        entries: (M,) the number of feature values of the texts of each parent.
        size: W, the number of ranges, of which some may be empty.
    """
    blocks = -(-np.diff(offsets) // LANES)
    parents = np.repeat(np.arange(len(blocks)), blocks)
    within = np.arange(len(parents)) - np.repeat(np.cumsum(blocks) - blocks, blocks)
    starts = np.append(offsets[parents] + LANES * within, offsets[-1])
    work = np.append(0, np.cumsum(entries[parents] + 1))
    cuts = np.searchsorted(work, work[-1] * np.arange(1, size) / size)
    return [0, *starts[cuts].tolist(), int(offsets[-1])]


def shared_trees(make: list[Callable[[], LabelTree]], world: World) -> list[LabelTree]:
    """Label trees, each of which one process makes for all."""
    if world.size == 1:
        return [one() for one in make]
    own = {i: make[i]() for i in range(world.rank, len(make), world.size)}
    found = gather_objects({i: (tree.offsets, tree.order, tree.built) for i, tree in own.items()}, world)
    parts = {i: part for of_rank in found for i, part in of_rank.items()}
    return [LabelTree(*parts[i]) for i in range(len(make))]


def check_same_rows(x: sp.csr_matrix, labels: sp.csr_matrix, world: World) -> None:
    """Raises SettingError, in every process, unless all of them have the same features and labels of texts."""
    own = [
        (m.shape, *(zlib.crc32(np.ascontiguousarray(array)) for array in (m.indptr, m.indices)))
        for m in (x, labels)
    ]
    for rank, found in enumerate(gather_objects(own, world)):
        if found != own:
            raise SettingError(
                f"process {rank} has other features or labels of the training texts than process {world.rank}",
                wanted="the same data and options in every process",
                next_step="give all processes the same files and the same command",
                where="data",
            )
