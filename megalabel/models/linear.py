"""Linear models over sparse text features, several trees averaged: what the recipe `linear` makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import scipy.sparse as sp
import torch

from megalabel.data.filters import FilterPairs
from megalabel.data.texts import Texts, check_list
from megalabel.errors import RESTORE_FOLDER, FormatError, MegalabelError, SettingError
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.inputs.sparse_text import SparseText
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.kernels.sparse.merge_topk import merge_topk
from megalabel.models.base import (
    BLOCK,
    NAMES,
    Ranker,
    at_least_one,
    check_room,
    class_name,
    in_blocks,
    load_names,
    model_folder,
    save_names,
)
from megalabel.storage.files import atomic_folder
from megalabel.storage.manifest import read_manifest, write_manifest
from megalabel.types import TopK

FORMAT = 1
CPU = torch.device("cpu")
DEEP = 2  # a tree is asked for so many times k labels, lest one that few trees rank high be lost before the mean


class LinearModel(Ranker):
    """The mean, over trees, of each label's probability.

    Args:
        text: texts to sparse features, or bags of words as they are.
        trees: beams over the same labels.
        label_texts: L names.

    Raises:
        SettingError: no tree, or trees and names of other labels or features.
    """

    def __init__(self, text: SparseText | BagOfWords, trees: Sequence[SparseBeam], label_texts: Texts) -> None:
        sizes = {(tree.n_features, len(tree.order)) for tree in trees}
        if sizes != {(text.size, len(label_texts))}:
            raise SettingError(
                f"{len(trees)} trees of {sorted(sizes)} features and labels",
                wanted=f"one or more over {text.size:,} features and {len(label_texts):,} labels",
                next_step="solve them on the features and labels of one corpus",
                where="trees",
            )
        self.text, self.trees, self.label_texts = text, tuple(trees), label_texts
        self.n_features = text.size if isinstance(text, BagOfWords) else None

    def topk(
        self,
        texts: Sequence[str] | sp.csr_matrix,
        k: int = 10,
        *,
        exclude: np.ndarray | None = None,
        batch_size: int = BLOCK,
        progress: str = "",
    ) -> TopK:
        """The best k labels of each text and their probabilities; arguments as `Ranker` has them.

        A model of bags of words takes rows (N, V), a scipy sparse matrix, in place of texts. DataError for texts
        where it reads rows and the other way round, for rows of another width, NaN or inf.
        """
        at_least_one("k", k)
        at_least_one("batch_size", batch_size)
        if isinstance(self.text, BagOfWords):
            texts = self.text.check(texts)
            n = texts.shape[0]
        else:
            check_list(texts)
            n = len(texts)
        forbidden = FilterPairs(exclude, n)
        depth = k if len(self.trees) == 1 else DEEP * max(k, 10)

        def answer(rows: slice) -> TopK:
            x = self.text.transform(texts[rows])
            never = forbidden.for_rows(np.arange(rows.start, rows.stop), CPU)
            return merge_topk([tree(x, depth, never) for tree in self.trees], k)

        return in_blocks(n, k, answer, size=max(batch_size, BLOCK), progress=progress)

    def save(self, folder: str | Path) -> None:
        """Writes features, trees and names; an older model there is replaced whole. SettingError otherwise."""
        folder = Path(folder)
        check_room(folder)
        with atomic_folder(folder) as new:
            if isinstance(self.text, SparseText):
                self.text.save(new / "text")
            save_names(new, self.label_texts)
            shapes = save_trees(new, "tree", self.trees)
            facts = {"trees": shapes, "n_labels": len(self.label_texts), "n_features": self.n_features}
            write_manifest(new, FORMAT, {"model": class_name(self), **facts})

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """What `save` wrote, weights mapped from their files; it runs on the CPU, whatever `device` says."""
        folder = model_folder(folder)
        manifest = read_manifest(
            folder, "linear model", FORMAT, facts=("trees", "n_labels"), files=(NAMES,), next_step=RESTORE_FOLDER
        )
        size: Any = manifest.get("n_features")
        learnt = SparseText.load(folder / "text") if size is None else None
        try:
            text = learnt or BagOfWords(size)
            trees = load_trees(folder, "tree", text.size, manifest["trees"])
            return cls(text, trees, load_names(folder))
        except (MegalabelError, OSError, KeyError, TypeError, ValueError) as error:
            found = error.found if isinstance(error, MegalabelError) else repr(error)
            raise FormatError(
                f"a tree is damaged ({found})",
                wanted="the arrays of every level",
                next_step=RESTORE_FOLDER,
                where=folder,
            ) from error


def save_trees(folder: Path, name: str, trees: Sequence[SparseBeam]) -> list[dict[str, Any]]:
    """Writes the arrays of trees as NAME0-….npy, NAME1-…; returns what the manifest must say of them."""
    for i, tree in enumerate(trees):
        np.save(folder / f"{name}{i}-order.npy", tree.order)
        for j, level in enumerate(tree.levels):
            for array_name, array in level.arrays.items():
                np.save(folder / f"{name}{i}-level{j}-{array_name}.npy", array)
    return [{"beams": tree.beams, "scores": tree.scores} for tree in trees]


def load_trees(folder: Path, name: str, n_features: int, shapes: Sequence[dict[str, Any]]) -> list[SparseBeam]:
    """What `save_trees` wrote, arrays mapped and not read; damaged ones raise as numpy and `Chunks` do."""
    trees = []
    for i, shape in enumerate(shapes):
        levels = []
        for j in range(len(shape["beams"]) + 1):
            files = folder.glob(f"{name}{i}-level{j}-*.npy")
            arrays = {
                path.stem.split("-", 2)[2]: np.load(path, mmap_mode="r", allow_pickle=False) for path in files
            }
            levels.append(Chunks(n_features, **arrays))
        order = np.load(folder / f"{name}{i}-order.npy", allow_pickle=False)
        trees.append(SparseBeam(levels, order, shape["beams"], shape["scores"]))
    return trees
