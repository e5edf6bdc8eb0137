"""`LabelTree`: nested clusters of labels, stored as ranges of consecutive numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

from megalabel.errors import RESTORE_FOLDER, FormatError, SettingError
from megalabel.labels.nested import check_offsets, check_order, from_clusters, from_parents
from megalabel.storage.files import atomic_folder, latest, write_json
from megalabel.storage.manifest import NAME, check_listed, read_manifest, write_manifest
from megalabel.storage.paths import as_path
from megalabel.storage.reading import reading

FORMAT = 1


@dataclass(frozen=True, eq=False)
class LabelTree:
    """K nested levels of label clusters, from coarse to fine.

    Siblings have consecutive numbers, and the labels are arranged in the same order, at *positions* 0 to L - 1.
    The labels below a node are thus a range of positions, and a table whose rows are in the order of the
    positions is read in ranges.

    No node is empty, and the nodes of a level may have different numbers of children. The arrays are read-only
    copies of those given.

    Args:
        offsets: K arrays (n_i + 1,) int64. The children of node j of level i are the nodes from `offsets[i][j]` to
            below `offsets[i][j + 1]` of level i + 1; those of the last level are positions.
        order: (L,) int64, the label at each position, a permutation of 0 to L - 1.
        built: how the tree was made, for information; `save` keeps it.

    Raises:
        DataError: there is no level, a node is empty, levels do not fit together, or a label has two positions or
            none.
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
        """Makes a tree bottom up.

        Args:
            parents: parents[i] holds (n_{i+1},) integers, the node of level i to which each node of level i + 1
                belongs. The last array holds the cluster of each label, (L,). Nodes of level 0 keep their numbers;
                those below are renumbered.
            **built: see the class.

        Raises:
            DataError: a cluster has no children, or children have no cluster.
        """
        return cls(*from_parents(parents), built={"source": "parents", **built})

    @classmethod
    def from_clusters(cls, levels: Sequence[Sequence[Sequence[int]]], **built: Any) -> LabelTree:
        """Makes a tree top down.

        Args:
            levels: the last level lists the label ids of each cluster; a level above it lists, for each cluster,
                the positions of its children in the next level. One level, `[[[0, 4, 2], [1, 3]]]`, is a
                partition of five labels.
            **built: see the class.

        Raises:
            DataError: a cluster is empty, or a label or cluster is listed twice or not at all.
        """
        return cls(*from_clusters(levels), built={"source": "clusters", **built})

    @property
    def n_labels(self) -> int:
        """The number of labels, L."""
        return len(self.order)

    @property
    def depth(self) -> int:
        """The number of levels of clusters above the labels, K."""
        return len(self.offsets)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The numbers of nodes of each level, and of labels: (n_0, …, n_{K-1}, L)."""
        return (*(len(offsets) - 1 for offsets in self.offsets), self.n_labels)

    @property
    def position(self) -> np.ndarray:
        """The position of each label, (L,) int64: the inverse of `order`. Each access makes a new array."""
        position = np.empty(self.n_labels, dtype=np.int64)
        position[self.order] = np.arange(self.n_labels)
        return position

    def parents(self, level: int) -> np.ndarray:
        """The node of `level` to which each node of the next level belongs: (sizes[level + 1],) int64, ascending.

        For the last level, these are the parents of the *positions*.
        """
        return np.repeat(np.arange(self.sizes[level]), np.diff(self.offsets[level]))

    def cluster_matrix(self, level: int) -> sp.csr_matrix:
        """The parent of each child as a matrix (sizes[level + 1], sizes[level]): float32 CSR with a one per row.

        The rows of the last level are label ids, not positions.
        """
        parents = self.parents(level)
        if level == self.depth - 1:
            parents = parents[self.position]
        ones = np.ones(len(parents), dtype=np.float32)
        return sp.csr_matrix(
            (ones, parents, np.arange(len(parents) + 1)), shape=(self.sizes[level + 1], self.sizes[level])
        )

    def fingerprint(self) -> str:
        """SHA-256 (hexadecimal) of the levels and the order: equal for equal trees."""
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
        """Writes a folder with `order.npy`, `level0.npy`, … and a manifest with sizes and hashes.

        Raises:
            SettingError: the folder exists and is not empty.
        """
        with atomic_folder(new_folder(folder)) as new:
            for i, offsets in enumerate(self.offsets):
                np.save(new / f"level{i}.npy", offsets)
            np.save(new / "order.npy", self.order)
            write_manifest(new, FORMAT, {"tree": list(self.sizes), "built": self.built})

    @classmethod
    def load(cls, folder: str | Path) -> LabelTree:
        """Reads what `save` wrote; FormatError if the folder is damaged, incomplete or something else."""
        folder = latest(as_path(folder, "folder"))
        _check_tree(folder)
        manifest = read_manifest(
            folder,
            "label tree",
            FORMAT,
            facts=("tree", "built"),
            files=("order.npy", "level0.npy"),
            next_step=RESTORE_FOLDER,
        )
        wanted, what = "levels that fit each other and the labels", "the label tree is damaged"
        with reading(folder, wanted=wanted, next_step=RESTORE_FOLDER, what=what):
            sizes, built = manifest["tree"], manifest["built"]
            names = [f"level{i}.npy" for i in range(len(sizes) - 1)]
            check_listed(manifest, "label tree", folder, files=names, next_step=RESTORE_FOLDER)
            arrays = [np.load(folder / name, allow_pickle=False) for name in (*names, "order.npy")]
            tree = cls(tuple(arrays[:-1]), arrays[-1], dict(built))
        if list(tree.sizes) != sizes:
            raise FormatError(
                f"the manifest lists the sizes {sizes}, the files have {list(tree.sizes)}",
                wanted="the same sizes in both",
                next_step=RESTORE_FOLDER,
                where=folder,
            )
        return tree

    def export_npz(self, folder: str | Path) -> None:
        """Writes the tree for the ClusterChain of PECOS: `config.json`, and a CSC matrix per level.

        The matrices are `C0.npz` (the column of ones of the root), `C1.npz`, and so on, with a row per child.

        Raises:
            SettingError: the folder exists and is not empty.
        """
        top = sp.csc_matrix(np.ones((self.sizes[0], 1), dtype=np.float32))
        chain = [top, *(self.cluster_matrix(level).tocsc() for level in range(self.depth))]
        with atomic_folder(new_folder(folder)) as new:
            for i, matrix in enumerate(chain):
                sp.save_npz(new / f"C{i}.npz", matrix)
            write_json(new / "config.json", {"len": len(chain)})


def _check_tree(folder: Path) -> None:
    """FormatError for a path to nothing, to a run or to data instead of a tree."""
    if (folder / NAME).is_file() or any(path.is_file() for path in (folder, *folder.parents)):
        return  # whose content says what it is
    found = "there is no such folder"
    if (folder / "recipe.json").is_file():
        found = "a run, not a label tree"
    elif folder.is_dir():
        names = sorted(inside.name for inside in folder.iterdir())
        found = f"no label tree (the folder holds: {', '.join(names[:6]) or 'nothing'})"
    raise FormatError(
        found,
        wanted="the folder of a label tree",
        next_step="build one with `megalabel tree build DATA --out OUT`, or correct the path",
        where=folder,
    )


def new_folder(folder: str | Path) -> Path:
    """Returns the path if a folder can be made there; SettingError if it is not empty or lies below a file."""
    folder = as_path(folder, "folder")
    for above in folder.parents:
        if above.is_file():
            raise SettingError(
                f"{folder} would lie in {above}, which is a file",
                wanted="a new folder",
            )
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise SettingError(
            f"{folder} exists already", wanted="a new folder", next_step="choose another one, or delete it"
        )
    return folder
