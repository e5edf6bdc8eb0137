"""Which part of a label tree each process owns: whole subtrees, so that clusters and children stay together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np

from megalabel.distributed.shards import LabelShards
from megalabel.errors import SettingError
from megalabel.labels.tree import LabelTree


@dataclass(frozen=True)
class Subtrees:
    """A label tree divided among W processes at its coarsest clusters.

    Nodes are numbered so that siblings are neighbors, and labels are counted by their positions in the order of
    the tree. So the part of a process is a range of nodes on every level, and no label has to be renumbered.

    Attributes:
        levels: the ranges of nodes of each level, coarse to fine, and those of the positions of the labels.
    """

    levels: tuple[LabelShards, ...]

    @classmethod
    def at(cls, tree: LabelTree, *borders: int) -> Self:
        """Divides a tree at the given W + 1 clusters of its coarsest level: 0, …, n_0.

        Raises:
            SettingError: the borders do not ascend from 0 to the number of coarsest clusters.
        """
        levels = [LabelShards.at(*borders)]
        if levels[0].n_labels != tree.sizes[0]:
            raise SettingError(
                f"borders {', '.join(map(str, borders))}",
                wanted=f"the last one to be {tree.sizes[0]}, the number of coarsest clusters of the tree",
                where="borders",
            )
        for offsets in tree.offsets:
            levels.append(LabelShards(tuple(offsets[list(levels[-1].bounds)].tolist())))
        return cls(tuple(levels))

    @classmethod
    def balanced(cls, tree: LabelTree, size: int) -> Self:
        """Divides a tree so that each process owns about as many labels; a process may own none.

        The borders are those of coarsest clusters that are next to even ones.
        """
        ends = np.arange(tree.sizes[0] + 1)
        for offsets in tree.offsets:
            ends = offsets[ends]  # (n_0 + 1,), the position at which the labels of each coarsest cluster begin
        even = LabelShards.even(tree.n_labels, size).bounds
        after = np.searchsorted(ends, even)
        before = np.maximum(after - 1, 0)
        nearer = np.where(np.abs(ends[before] - even) <= np.abs(ends[after] - even), before, after)
        return cls.at(tree, *nearer.tolist())

    @property
    def size(self) -> int:
        """W, the number of processes."""
        return self.levels[0].size

    def rows(self, level: int, rank: int) -> range:
        """The nodes of a level that a process owns; for the last level, the positions of its labels."""
        return self.levels[level].range(rank)

    def widest(self, level: int) -> int:
        """The largest number of nodes of a level that one process owns."""
        return max(self.levels[level].sizes)
