"""`Taxonomy`: which labels are broader than which, a directed acyclic graph over the labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import scipy.sparse as sp
from scipy.sparse.csgraph import connected_components

from megalabel.errors import DataError

SHOWN = 8  # labels of a cycle that a message lists


class Taxonomy:
    """The parents, which are broader, of each of L labels; a label may have several.

    Args:
        starts: (L + 1,) int64; the parents of label i are parents[starts[i] : starts[i + 1]].
        parents: (E,) int32 label ids, ascending for each label.
    """

    def __init__(self, starts: np.ndarray, parents: np.ndarray) -> None:
        self.starts, self.parents = starts, parents

    @classmethod
    def of(
        cls,
        parents: np.ndarray,
        children: np.ndarray,
        names: Sequence[str],
        where: str | Path | None = None,
        next_step: str | None = "remove one of these relations",
    ) -> Taxonomy:
        """The taxonomy of pairs, in any order and with repetitions.

        Args:
            parents, children: (E,) ids below L.
            names: the names of the L labels, for messages.
            where, next_step: the file of the pairs and what to do about a cycle, for messages.

        Raises:
            DataError: a cycle, which the error names.
        """
        n = len(names)
        keys = _distinct(np.asarray(children, np.int64) * n + np.asarray(parents, np.int64))
        children, parents = keys // n, (keys % n).astype(np.int32)
        starts = np.zeros(n + 1, np.int64)
        np.cumsum(np.bincount(children, minlength=n), out=starts[1:])
        found = cls(starts, parents)
        cycle = found.cycle()
        if cycle:
            shown = [names[i] for i in cycle[:SHOWN]] + (["…"] if len(cycle) > SHOWN else [])
            raise DataError(
                f"a cycle of broader labels, each below the next: {' → '.join([*shown, names[cycle[0]]])}",
                wanted="a taxonomy without cycles, in which a label may have several parents",
                next_step=next_step,
                where=where,
            )
        return found

    def __len__(self) -> int:
        return len(self.starts) - 1

    def __bool__(self) -> bool:
        return len(self.parents) > 0

    def __repr__(self) -> str:
        return f"Taxonomy({len(self):,} labels, {len(self.parents):,} parents)"

    @property
    def root(self) -> int | None:
        """The label that all other labels descend from; None where there is no such label."""
        without = np.flatnonzero(np.diff(self.starts) == 0)
        return int(without[0]) if len(without) == 1 and len(self) > 1 else None

    def parents_of(self, label: int) -> np.ndarray:
        """The parents of a label: ids, ascending."""
        return self.parents[int(self.starts[label]) : int(self.starts[label + 1])]

    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """All pairs: parents (E,) and children (E,) int64."""
        return self.parents.astype(np.int64), np.repeat(np.arange(len(self)), np.diff(self.starts))

    def ancestors(self, labels: np.ndarray) -> sp.csr_matrix:
        """The labels above some labels, these themselves not included.

        Args:
            labels: (n,) ids.

        Returns:
            (n, L) CSR int32 of ones, with sorted indices; as large as the ancestors are many.
        """
        n, levels = np.int64(len(self)), [np.zeros(0, np.int64)]
        rows, at = self._step(np.arange(len(labels)), np.asarray(labels, np.int64))
        while len(at):  # ends, since there are no cycles
            levels.append(_distinct(rows * n + at))
            rows, at = self._step(levels[-1] // n, levels[-1] % n)
        found = _distinct(np.concatenate(levels))
        starts = np.searchsorted(found, np.arange(len(labels) + 1) * n)
        return sp.csr_matrix((np.ones(len(found), np.int32), found % n, starts), shape=(len(labels), len(self)))

    def relabeled(self, target: np.ndarray, names: Sequence[str], next_step: str | None = None) -> Taxonomy:
        """The same over other labels; the parents of a label that is removed become those of its children.

        Args:
            target: (L,) the new id of each label, −1 for one that is removed; labels may become one.
            names: the names of the new labels.
            next_step: what to do about labels whose merging makes a cycle.

        Raises:
            DataError: a cycle of labels that became one and labels between them.
        """
        of_old, at = self.pairs()[::-1]
        rows, at = target[of_old[target[of_old] >= 0]], at[target[of_old] >= 0]
        parents, children = [np.zeros(0, np.int64)], [np.zeros(0, np.int64)]
        while len(at):
            to = target[at]
            kept = (to >= 0) & (to != rows)
            parents.append(to[kept])
            children.append(rows[kept])
            rows, at = self._step(rows[to < 0], at[to < 0])
            keys = _distinct(rows * len(self) + at)
            rows, at = keys // len(self), keys % len(self)
        return Taxonomy.of(np.concatenate(parents), np.concatenate(children), names, next_step=next_step)

    def _step(self, rows: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """From labels `at` (n,) with their rows to their parents, with the same rows."""
        sizes = self.starts[at + 1] - self.starts[at]
        before = np.cumsum(sizes) - sizes
        where = np.repeat(self.starts[at] - before, sizes) + np.arange(sizes.sum())
        return np.repeat(rows, sizes), self.parents[where].astype(np.int64)

    def cycle(self) -> list[int]:
        """The labels of a cycle, each the child of the next; [] where there is none."""
        own = np.flatnonzero(np.equal(*self.pairs()))
        if len(own):
            return [int(self.parents[own[0]])]
        graph = sp.csr_matrix(
            (np.ones(len(self.parents), np.int8), self.parents, self.starts), shape=(len(self),) * 2
        )
        _, part = connected_components(graph, directed=True, connection="strong")
        several = np.flatnonzero(np.bincount(part)[part] > 1)
        if not len(several):
            return []
        path, places = [int(several[0])], {int(several[0]): 0}
        while True:  # every label of a strongly connected part has a parent in it
            above = self.parents_of(path[-1])
            label = int(above[part[above] == part[path[0]]][0])
            if label in places:
                return path[places[label] :]
            places[label] = len(path)
            path.append(label)


def _distinct(keys: np.ndarray) -> np.ndarray:
    """The different values, ascending; `np.unique` of integers takes many times as long from numpy 2.3 on."""
    keys = np.sort(keys)
    return keys[np.append(True, keys[1:] != keys[:-1])] if len(keys) else keys
