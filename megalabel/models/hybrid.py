"""A trained model and linear rankers beside it, over its embedding and the words: what `hybrid` makes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import torch

from megalabel.data.filters import FilterPairs
from megalabel.data.texts import check_list
from megalabel.errors import RESTORE_FOLDER, DataError, FormatError, MegalabelError, SettingError
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.tfidf import l2_rows
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.sparse.merge_topk import merge_topk
from megalabel.models.base import (
    BLOCK,
    Ranker,
    at_least_one,
    check_room,
    class_name,
    in_blocks,
    model_folder,
)
from megalabel.models.linear import CPU, load_trees, save_trees
from megalabel.models.mixture import DEPTH, Mixture
from megalabel.models.neural import Model
from megalabel.storage.files import atomic_folder
from megalabel.storage.manifest import read_manifest, write_manifest
from megalabel.types import Gives, TopK

if TYPE_CHECKING:
    import scipy.sparse as sp

FORMAT = 1


class HybridModel(Ranker):
    """The calibrated mixture of a model, of trees over its embedding and the words, and of trees over the words.

    Args:
        first: the model, on whatever device.
        text: texts to sparse features.
        joined: trees over the embedding and the whole words and pairs, `whole` below; may be none.
        alone: trees over all features of the text alone, one or more.
        scale: the length that each embedding is brought to beside its words, whose rows have length 1.
        mixture: of these three, in this order; of two where there are no joined trees.

    Raises:
        SettingError: no tree, trees of other features, inputs or labels, a mixture of another number.
    """

    def __init__(
        self,
        first: Model,
        text: SparseText,
        joined: Sequence[SparseBeam],
        alone: Sequence[SparseBeam],
        scale: float,
        mixture: Mixture,
    ) -> None:
        n_labels = len(first.label_texts)
        parts = 2 + bool(joined)
        for trees, shape in ((joined, (text.n_word_features, first.encoder.dim)), (alone, (text.size, 0))):
            shapes = {(tree.n_features, tree.n_inputs, len(tree.order)) for tree in trees}
            if shapes - {(*shape, n_labels)} or not alone or len(mixture.weights) != parts:
                raise SettingError(
                    f"trees of {sorted(shapes)} features, inputs and labels, and {len(mixture.weights)} weights",
                    wanted=f"trees of {(*shape, n_labels)}, and {parts} weights",
                    next_step="solve them beside this very model",
                    where="trees",
                )
        self.first, self.text, self.scale, self.mixture = first, text, float(scale), mixture
        self.joined, self.alone = tuple(joined), tuple(alone)
        self.label_texts = first.label_texts
        linear: list[Gives] = ["probabilities"] * (parts - 1)
        self.parts = [first.gives, *linear]

    def rankings(
        self, texts: Sequence[str], k: int, exclude: np.ndarray | None = None, batch_size: int = 256
    ) -> list[TopK]:
        """What each part answers, in the order of the mixture: the best k or more labels."""
        views = np.zeros((len(texts), self.first.encoder.dim), np.float32)
        found = [self.first.topk(texts, k, exclude=exclude, batch_size=batch_size, embedding=views)]
        x = self.text.transform(texts)
        never = FilterPairs(exclude, len(texts)).for_rows(np.arange(len(texts)), CPU)
        if self.joined:
            words, dense = whole(self.text, x), brought_to(self.scale, views)
            found.append(merge_topk([tree(words, k, never, dense) for tree in self.joined], k))
        found.append(merge_topk([tree(x, k, never) for tree in self.alone], k))
        return found

    def topk(
        self,
        texts: Sequence[str] | sp.csr_matrix,
        k: int = 10,
        *,
        exclude: np.ndarray | None = None,
        batch_size: int = 256,
        progress: str = "",
    ) -> TopK:
        """The best k labels of each text, scores from 0 to 1; arguments as `Ranker` has them."""
        check_list(texts)
        at_least_one("k", k)
        forbidden = FilterPairs(exclude, len(texts))

        def answer(rows: slice) -> TopK:
            never = forbidden.block(rows.start, rows.stop)
            return self.mixture.merge(self.rankings(texts[rows], max(k, DEPTH), never, batch_size), self.parts, k)

        return in_blocks(len(texts), k, answer, size=BLOCK, progress=progress)

    def save(self, folder: str | Path) -> None:
        """Writes all of it; an older model there is replaced whole. SettingError if anything else is there."""
        folder = Path(folder)
        check_room(folder)
        with atomic_folder(folder) as new:
            self.first.save(new / "first")
            self.text.save(new / "text")
            facts = {
                "model": class_name(self),
                "n_labels": len(self.label_texts),
                "joined": save_trees(new, "joined", self.joined),
                "alone": save_trees(new, "alone", self.alone),
                "scale": self.scale,
                "mixture": self.mixture.settings(),
            }
            write_manifest(new, FORMAT, facts)

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """What `save` wrote; the trees run on the CPU, their weights mapped, the model on `device`."""
        folder = model_folder(folder)
        facts = ("joined", "alone", "scale", "mixture")
        manifest = read_manifest(folder, "hybrid model", FORMAT, facts=facts, files=(), next_step=RESTORE_FOLDER)
        first = Model.load(folder / "first", device=device, trust=trust)
        text = SparseText.load(folder / "text")
        try:
            joined = load_trees(folder, "joined", text.n_word_features, manifest["joined"])
            alone = load_trees(folder, "alone", text.size, manifest["alone"])
            settings = {name: tuple(values) for name, values in manifest["mixture"].items()}
            return cls(first, text, joined, alone, manifest["scale"], Mixture(**settings))
        except (MegalabelError, OSError, KeyError, TypeError, ValueError, AttributeError) as error:
            found = error.found if isinstance(error, MegalabelError) else repr(error)
            raise FormatError(
                f"a tree is damaged ({found})",
                wanted="the arrays of every level",
                next_step=RESTORE_FOLDER,
                where=folder,
            ) from error


def embedded(model: Model, texts: Sequence[str], scale: float) -> np.ndarray:
    """The last view of each text, brought to the length `scale`: (N, D) float32; DataError for NaN or inf."""
    found = np.zeros((len(texts), model.encoder.dim), np.float32)
    for start in range(0, len(texts), BLOCK):  # all views of all texts may not fit
        found[start : start + BLOCK] = model.encode(texts[start : start + BLOCK])[:, -1]
    return brought_to(scale, found)


def brought_to(scale: float, views: np.ndarray) -> np.ndarray:
    """Rows (N, D), in place, at the length `scale`, but for rows of zeros; DataError for NaN or inf."""
    lengths = np.linalg.norm(views, axis=1, keepdims=True)
    broken = np.flatnonzero(~np.isfinite(lengths))
    if len(broken):
        raise DataError(
            f"the embedding of {len(broken)} of {len(views)} texts has NaN or inf, first that of text {broken[0]}",
            wanted="finite embeddings of all texts",
            next_step="look for a diverged training run, and train it again with lower learning rates",
            where="run",
        )
    views *= scale / np.where(lengths > 0, lengths, 1)
    return views


def whole(text: SparseText, x: sp.csr_matrix) -> sp.csr_matrix:
    """Rows (N, V) without the pieces of words, brought to length 1 again: (N, text.n_word_features)."""
    return x if text.n_word_features == text.size else l2_rows(x[:, : text.n_word_features])
