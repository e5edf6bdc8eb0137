"""Linear classifiers over sparse text features in several label trees, whose predictions are averaged."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from megalabel.data.filters import FilterPairs
from megalabel.data.texts import Texts
from megalabel.errors import RESTORE_FOLDER, SettingError
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.inputs.sparse_text import SparseText
from megalabel.kernels.linear.path_search import path_searches
from megalabel.kernels.linear.post_processor import PostProcessor
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.kernels.sparse.merge_topk import merge_topk
from megalabel.models.base import (
    FORMAT,
    NARROW_FORMAT,
    Advance,
    Classifier,
    check_room,
    class_name,
    read_model_manifest,
)
from megalabel.models.facts import load_facts, save_facts
from megalabel.models.label_names import NAMES, load_names, save_names
from megalabel.models.reading import read_model
from megalabel.storage.files import atomic_folder
from megalabel.storage.manifest import check_listed, inner_folder, write_manifest
from megalabel.storage.spill import forget
from megalabel.types import TopK

if TYPE_CHECKING:
    import torch

EXACT = 256  # labels of each tree that enter the mean where a list of labels is ranked
DEEP = 2  # each tree returns this many times k labels, so that labels that few trees rank high enter the mean


class LinearClassifier(Classifier):
    """Predicts the mean, over trees, of the probability of each label.

    Args:
        text: maps texts to sparse features; or bags of words, which are used as they are.
        trees: beam searches over the same labels.
        label_texts: the names of the L labels.

    Raises:
        SettingError: there are no trees, or trees and names have different labels or features.
    """

    deep = 0  # labels of each tree that enter the mean at least

    def __init__(self, text: SparseText | BagOfWords, trees: Sequence[SparseBeam], label_texts: Texts) -> None:
        sizes = {(tree.n_features, len(tree.order)) for tree in trees}
        if sizes != {(text.size, len(label_texts))}:
            raise SettingError(
                f"{len(trees)} trees of {sorted(sizes)} features and labels",
                wanted=f"one or more over {text.size:,} features and {len(label_texts):,} labels",
                next_step="fit them on the features and labels of one corpus",
                where="trees",
            )
        self.text, self.trees, self.label_texts = text, tuple(trees), label_texts
        self.n_features = text.size if isinstance(text, BagOfWords) else None

    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The k best labels of a block of texts or rows, and their probabilities."""
        x = self.text.transform(texts)
        found = rank_rows(self.trees, x, k, exclude, self.deep, few_pages=self.few_pages)
        advance(x.shape[0])
        return found

    def restricted(self, labels: np.ndarray) -> LinearClassifier:
        """The same trees cut down to the paths to some labels, (n,) int64 ascending."""
        cut = LinearClassifier(self.text, path_searches(self.trees, labels), self.label_texts[labels])
        cut.deep = min(len(labels), EXACT)
        return cut

    def label_spaces(self, texts: Sequence[str]) -> list[Any]:
        """The features of the texts: (N, V) float32 CSR."""
        return [self.text.transform(texts)]

    def label_solver(self) -> tuple[PostProcessor, float]:
        """Those of the first tree."""
        return self.trees[0].post_processor, self.trees[0].c

    def save(self, folder: str | Path) -> None:
        """Writes features, trees and names; an older model there is replaced. SettingError otherwise."""
        folder = check_room(folder)
        with atomic_folder(folder) as new:
            if isinstance(self.text, SparseText):
                self.text.save(new / "text")
            save_names(new, self.label_texts)
            save_facts(new, self)
            shapes = save_trees(new, "tree", self.trees)
            facts = {"trees": shapes, "n_labels": len(self.label_texts), "n_features": self.n_features}
            if self.deep:
                facts["deep"] = self.deep
            write_manifest(new, trees_format(self.trees), {"model": class_name(self), **facts})

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """Reads what `save` wrote, with memory-mapped weights; it runs on the CPU, whatever `device` is."""
        return read_model(folder, cls._read)

    @classmethod
    def _read(cls, folder: Path) -> Self:
        manifest = read_model_manifest(folder, "linear model", facts=("trees", "n_labels"), files=(NAMES,))
        size: Any = manifest.get("n_features")
        learned = SparseText.load(inner_folder(folder, "text", next_step=RESTORE_FOLDER)) if size is None else None
        text = learned or BagOfWords(size)
        trees = load_trees(folder, "tree", text.size, manifest, "trees")
        model = cls(text, trees, load_names(folder))
        deep: Any = manifest.get("deep", 0)
        model.deep = min(int(deep), len(model.label_texts))
        load_facts(folder, model)
        return model


def rank_rows(
    trees: Sequence[SparseBeam],
    x: sp.csr_matrix,
    k: int,
    exclude: np.ndarray | None,
    deep: int = 0,
    *,
    few_pages: bool = False,
) -> TopK:
    """The k labels of each row (N, V) with the largest mean probability over trees, without (F, 2) pairs.

    deep: labels of each tree that enter the mean, at least.
    few_pages: whether to let go of the pages of each tree when it has been searched.
    """
    depth = k if len(trees) == 1 else max(DEEP * max(k, 10), deep)
    excluded = FilterPairs(exclude, x.shape[0]).for_rows(np.arange(x.shape[0]), "cpu")
    found = []
    for tree in trees:
        found.append(tree(x, depth, excluded))
        if few_pages:
            forget_pages(tree)
    return merge_topk(found, k)


def forget_pages(tree: SparseBeam) -> None:
    """Lets the system drop the pages of a tree whose weights are read from files."""
    for level in tree.levels:
        for array in level.arrays.values():
            forget(array)


def save_trees(folder: Path, name: str, trees: Sequence[SparseBeam]) -> list[dict[str, Any]]:
    """Writes the arrays of trees as NAME0-….npy, NAME1-…; returns their entries for the manifest."""
    for i, tree in enumerate(trees):
        np.save(folder / f"{name}{i}-order.npy", tree.order)
        for j, level in enumerate(tree.levels):
            for array_name, array in level.arrays.items():
                np.save(folder / f"{name}{i}-level{j}-{array_name}.npy", array)
    return [
        {
            "beams": tree.beams,
            "post_processor": tree.post_processor,
            "c": tree.c,
            "prune_below": tree.prune_below,
            "files": f"{name}{i}",
        }
        for i, tree in enumerate(trees)
    ]


def trees_format(trees: Iterable[SparseBeam]) -> int:
    """The format of a model folder with these trees."""
    levels = [level for tree in trees for level in tree.levels]
    plain = all(
        level.lengths is None and level.features.dtype == np.int32 and level.values.dtype == np.float32
        for level in levels
    )
    return FORMAT if plain else NARROW_FORMAT


def load_trees(folder: Path, name: str, n_features: int, manifest: dict[str, Any], key: str) -> list[SparseBeam]:
    """Reads what `save_trees` wrote, memory-mapped; raises the errors of numpy and `Chunks` if it is damaged.

    Args:
        folder: where they lie.
        name: the prefix of files that the manifest does not name.
        n_features: V.
        manifest: of the folder; only files whose hashes it holds are read.
        key: the fact in the manifest that lists the trees.
    """
    trees = []
    for i, shape in enumerate(manifest[key]):
        levels, prefix = [], str(shape.get("files", f"{name}{i}"))
        for j in range(len(shape["beams"]) + 1):
            start = f"{prefix}-level{j}-"
            files = [file for file in manifest["sha256"] if file.startswith(start) and file.endswith(".npy")]
            arrays = {
                file.removeprefix(start).removesuffix(".npy"): np.load(
                    folder / file, mmap_mode="r", allow_pickle=False
                )
                for file in files
            }
            levels.append(Chunks(n_features, **arrays))
        check_listed(manifest, "linear model", folder, files=(f"{prefix}-order.npy",), next_step=RESTORE_FOLDER)
        order = np.load(folder / f"{prefix}-order.npy", allow_pickle=False)
        solver = {key: float(shape[key]) for key in ("c", "prune_below") if key in shape}
        trees.append(SparseBeam(levels, order, shape["beams"], shape["post_processor"], **solver))
        forget_pages(trees[-1])  # whose numbers have been checked by reading all of them
    return trees
