"""The label tree: clusters of clusters of labels, as numbers that follow each other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import RESTORE_FOLDER, FormatError, MegalabelError, SettingError
from megalabel.labels.nested import check_offsets, check_order, from_clusters, from_parents
from megalabel.storage.files import atomic_folder, recover, write_json
from megalabel.storage.manifest import read_manifest, write_manifest

FORMAT = 1


@dataclass(frozen=True, eq=False)
class LabelTree:
    """K nested levels of label clusters, from coarse to fine.

    Nodes are numbered so that siblings follow each other, and the labels are laid out in the same order, at
    *places* 0 to L - 1. So the labels below any node are a range of places, and a table whose rows are numbered
    like the places is read in ranges.

    offsets: K arrays (n_i + 1,) int64: the children of node j of level i are the nodes offsets[i][j] up to
        offsets[i][j + 1] of level i + 1; for the last level, the places.
    order: (L,) int64, the label at each place: a permutation of 0 to L - 1.
    built: what it was made from, for people to read; kept by `save`.

    No node is empty; nodes of one level may have different numbers of children. The arrays are copies of those
    given, and read-only.

    Raises:
        DataError: no level, an empty node, levels that do not fit together, a label at two places or at none.
    """

    offsets: tuple[np.ndarray, ...]
    order: np.ndarray
    built: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "offsets", check_offsets(self.offsets))
        object.__setattr__(self, "order", check_order(self.order, int(self.offsets[-1][-1])))
        for array in (*self.offsets, self.order):
            array.flags.writeable = False

    @classmethod
    def from_parents(cls, parents: Sequence[Any], **built: Any) -> LabelTree:
        """A tree of one's own, bottom up: parents[i] (n_{i+1},) integers, the level-i node that each is in.

        The last array says the cluster of each label, (L,); the one before it, the cluster of each of those
        clusters; and so on up. Nodes of level 0 keep their numbers, those below are numbered anew.

        Raises:
            DataError: a cluster without children, or children without a cluster.
        """
        return cls(*from_parents(parents), built={"source": "parents", **built})

    @classmethod
    def from_clusters(cls, levels: Sequence[Sequence[Sequence[int]]], **built: Any) -> LabelTree:
        """A tree of one's own, top down: the last level lists the label ids of each cluster, a level above it
        the clusters of the next level (by their position in it) that each cluster holds.

        One level, `[[[0, 4, 2], [1, 3]]]`, is a plain partition of five labels.

        Raises:
            DataError: an empty cluster, a label or a cluster listed twice or not at all.
        """
        return cls(*from_clusters(levels), built={"source": "clusters", **built})

    @property
    def n_labels(self) -> int:
        """L."""
        return len(self.order)

    @property
    def depth(self) -> int:
        """K, how many levels of clusters lie above the labels."""
        return len(self.offsets)

    @property
    def sizes(self) -> tuple[int, ...]:
        """(n_0, …, n_{K-1}, L): the nodes of each level, then the labels."""
        return (*(len(offsets) - 1 for offsets in self.offsets), self.n_labels)

    @property
    def place(self) -> np.ndarray:
        """(L,) int64, the place of each label: the inverse of `order`; a new array each time."""
        place = np.empty(self.n_labels, dtype=np.int64)
        place[self.order] = np.arange(self.n_labels)
        return place

    def parents(self, level: int) -> np.ndarray:
        """The level's node that each node of the next level, or each *place* below the last, is in.

        (sizes[level + 1],) int64, never falling.
        """
        return np.repeat(np.arange(self.sizes[level]), np.diff(self.offsets[level]))

    def cluster_matrix(self, level: int) -> sp.csr_matrix:
        """(sizes[level + 1], sizes[level]) float32 CSR of ones, one a row: which node each child is in.

        The rows of the last level are label ids, not places.
        """
        parents = self.parents(level)
        if level == self.depth - 1:
            parents = parents[self.place]
        ones = np.ones(len(parents), dtype=np.float32)
        return sp.csr_matrix(
            (ones, parents, np.arange(len(parents) + 1)), shape=(self.sizes[level + 1], self.sizes[level])
        )

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the levels and the order: equal for equal trees, however they were made."""
        total = hashlib.sha256()
        for part in (*self.offsets, self.order):
            total.update(np.asarray([len(part)], dtype="<i8").tobytes())
            total.update(np.ascontiguousarray(part, dtype="<i8").tobytes())
        return total.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LabelTree) and self.fingerprint() == other.fingerprint()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"LabelTree({' > '.join(f'{n:,}' for n in self.sizes)})"

    def save(self, folder: str | Path) -> None:
        """Writes a folder: `order.npy`, `level0.npy`, … and a manifest with sizes and hashes.

        SettingError if something is there already.
        """
        with atomic_folder(new_folder(folder)) as new:
            for i, offsets in enumerate(self.offsets):
                np.save(new / f"level{i}.npy", offsets)
            np.save(new / "order.npy", self.order)
            write_manifest(new, FORMAT, {"tree": list(self.sizes), "built": self.built})

    @classmethod
    def load(cls, folder: str | Path) -> LabelTree:
        """The tree that `save` wrote; FormatError if the folder is damaged, incomplete or something else."""
        folder = Path(folder)
        recover(folder)
        manifest = read_manifest(
            folder,
            "label tree",
            FORMAT,
            facts=("tree", "built"),
            files=("order.npy", "level0.npy"),
            next_step=RESTORE_FOLDER,
        )
        sizes, built = manifest["tree"], manifest["built"]
        try:
            names = [f"level{i}.npy" for i in range(len(sizes) - 1)]
            arrays = [np.load(folder / name, allow_pickle=False) for name in (*names, "order.npy")]
            tree = cls(tuple(arrays[:-1]), arrays[-1], dict(built))
        except (MegalabelError, OSError, TypeError, ValueError) as error:
            found = error.found if isinstance(error, MegalabelError) else str(error)
            raise FormatError(
                f"the label tree is damaged ({found})",
                wanted="levels that fit each other and the labels",
                next_step=RESTORE_FOLDER,
                where=folder,
            ) from error
        if list(tree.sizes) != sizes:
            raise FormatError(
                f"the manifest says {sizes}, the files {list(tree.sizes)}",
                wanted="the same sizes in both",
                next_step=RESTORE_FOLDER,
                where=folder,
            )
        return tree

    def export_npz(self, folder: str | Path) -> None:
        """Writes the tree as PECOS's ClusterChain reads it: `config.json`, and `C0.npz` (the root's column of
        ones), `C1.npz`, …, one matrix for each level, children in rows, as CSC.

        SettingError if something is there already.
        """
        top = sp.csc_matrix(np.ones((self.sizes[0], 1), dtype=np.float32))
        chain = [top, *(self.cluster_matrix(level).tocsc() for level in range(self.depth))]
        with atomic_folder(new_folder(folder)) as new:
            for i, matrix in enumerate(chain):
                sp.save_npz(new / f"C{i}.npz", matrix)
            write_json(new / "config.json", {"len": len(chain)})


def new_folder(folder: str | Path) -> Path:
    """The path, if a folder can be made there; SettingError if something is there, or a file lies above it."""
    folder = Path(folder)
    for above in folder.parents:
        if above.is_file():
            raise SettingError(
                f"{folder} would lie in {above}, which is a file",
                wanted="a new folder",
                next_step="give another one",
            )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SettingError(
            f"{folder} is there already", wanted="a new folder", next_step="give another one, or delete it"
        )
    return folder
