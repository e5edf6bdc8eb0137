"""A neural classifier combined with linear trees over its embedding and words, and a search for similar texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch

from megalabel.data.filters import FilterPairs
from megalabel.errors import RESTORE_FOLDER, DataError, SettingError
from megalabel.inputs.sparse_text import SparseText
from megalabel.inputs.tfidf import l2_rows
from megalabel.kernels.linear.path_search import path_searches
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.merging.ranked import Ranked
from megalabel.kernels.sparse.merge_topk import merge_topk
from megalabel.models.base import BLOCK, Advance, Classifier, read_model_manifest
from megalabel.models.boosted_merge import BoostedMerge, Found, SearchedRanking, candidates, roots
from megalabel.models.composed import BASE, ComposedClassifier
from megalabel.models.depth import at_least_one
from megalabel.models.hybrid_search import load_search, save_search
from megalabel.models.linear import load_trees, save_trees, trees_format
from megalabel.models.mixture import DEPTH, Mixture
from megalabel.models.neural import NeuralClassifier
from megalabel.models.retrieval import Neighbor, nearest_texts
from megalabel.models.text_list import as_texts
from megalabel.retrieval.index import RetrievalIndex
from megalabel.storage.manifest import inner_folder
from megalabel.types import ScoreType, TopK

if TYPE_CHECKING:
    import scipy.sparse as sp


class HybridClassifier(ComposedClassifier):
    """A calibrated mixture of a neural model, of trees over its embedding and words, and of trees over words.

    With `index` and `learned`, boosted trees merge their rankings instead, together with what the nearest training
    texts, label documents, and labels that occur together say.

    Args:
        base_model: the neural model, on any device.
        text: maps texts to sparse features.
        joint_trees: trees over the embedding and the features of `whole_words`; may be empty.
        word_trees: trees over all features of the text, one or more.
        scale: the norm to which embeddings are rescaled beside the word features, whose rows have norm 1.
        mixture: the mixture of these three in this order; of two if there are no joint trees.
        index: training texts and label documents over the features of `whole_words`, or no rows; None without
            `learned`.
        learned: the learned merge; None for the mixture.
        searched: corrects the ranking of the word trees by what the index finds; None if it stays.

    Raises:
        SettingError: there are no word trees, trees have other features, inputs or labels, or the mixture has
            another number of weights.
    """

    loss_name = "mixture"

    def __init__(
        self,
        base_model: NeuralClassifier,
        text: SparseText,
        joint_trees: Sequence[SparseBeam],
        word_trees: Sequence[SparseBeam],
        scale: float,
        mixture: Mixture,
        index: RetrievalIndex | None = None,
        learned: BoostedMerge | None = None,
        searched: SearchedRanking | None = None,
    ) -> None:
        n_labels = len(base_model.label_texts)
        parts = 2 + bool(joint_trees)
        for trees, shape in (
            (joint_trees, (text.n_word_features, base_model.encoder.dim)),
            (word_trees, (text.size, 0)),
        ):
            shapes = {(tree.n_features, tree.n_inputs, len(tree.order)) for tree in trees}
            if shapes - {(*shape, n_labels)} or not word_trees or len(mixture.weights) != parts:
                raise SettingError(
                    f"trees of {sorted(shapes)} features, inputs and labels, and {len(mixture.weights)} weights",
                    wanted=f"trees of {(*shape, n_labels)}, and {parts} weights",
                    next_step="fit them on the embeddings of this model",
                    where="trees",
                )
        self.base_model, self.text, self.scale, self.mixture = base_model, text, float(scale), mixture
        self.joint_trees, self.word_trees = tuple(joint_trees), tuple(word_trees)
        self.index, self.learned, self.searched = index, learned, searched
        if index is not None and (
            index.n_features not in (0, text.n_word_features) or len(index.known.counts) != n_labels
        ):
            raise SettingError(
                f"an index of {index.n_features:,} features and {len(index.known.counts):,} labels",
                wanted=f"one of {text.n_word_features:,} features and {n_labels:,} labels",
                next_step="build it from the features of this model",
                where="index",
            )
        self.label_texts, self.trained_on = base_model.label_texts, base_model.trained_on
        self.metadata = base_model.metadata
        linear: list[ScoreType] = ["probability"] * (parts - 1)
        self.score_types = [base_model.score_type, *linear]

    def rankings(
        self, texts: Sequence[str], k: int, exclude: np.ndarray | None = None, batch_size: int = 256
    ) -> list[TopK]:
        """The k best or more labels by each part, in the order of the mixture."""
        return list(self.search(texts, k, exclude, batch_size).rankings)

    def search(
        self, texts: Sequence[str], k: int, exclude: np.ndarray | None = None, batch_size: int = 256
    ) -> Found:
        """The rankings of all parts, at least k deep, and the nearest rows and label documents of the index."""
        best, views = self.base_model.topk_and_embedding(texts, k, exclude=exclude, batch_size=batch_size)
        found = [best]
        x = self.text.transform(texts)
        excluded = FilterPairs(exclude, len(texts)).for_rows(np.arange(len(texts)), "cpu")
        searches = self.index is not None and self.index.n_features
        words = whole_words(self.text, x) if self.joint_trees or searches else x
        if self.joint_trees:
            dense = rescale(self.scale, views)
            found.append(merge_topk([tree(words, k, excluded, dense) for tree in self.joint_trees], k))
        top = merge_topk([tree(x, k, excluded) for tree in self.word_trees], k)
        if self.index is None:
            nothing = Ranked(np.zeros((len(texts), 0), np.int64), np.zeros((len(texts), 0), np.float32))
            return Found([*found, top], self.score_types, nothing, nothing)
        rows, documents = self.index.near(words)
        if self.searched is not None:
            top = self.searched.rank(top, rows, documents, self.index.known, k, exclude)
        return Found([*found, top], self.score_types, rows, documents)

    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The k best labels of a block of texts, scores from 0 to 1."""
        found = self.search(texts, max(k, DEPTH), exclude, batch_size)
        if self.index is None or self.learned is None:
            merged = self.mixture.merge(found.rankings, self.score_types, k)
        else:
            made = candidates(self.mixture, found, self.index.known, k)
            merged = roots(self.learned.merge(made, k, exclude))  # what "mixture" scores are
        advance(len(texts))
        return merged

    def restricted(self, labels: np.ndarray) -> HybridClassifier | None:
        """The same mixture over some labels, (n,) int64 ascending; None where boosted trees merge the rankings."""
        base = self.base_model.restricted(labels) if self.index is None else None
        if base is None:
            return None
        joint, words = (path_searches(trees, labels) for trees in (self.joint_trees, self.word_trees))
        return HybridClassifier(base, self.text, joint, words, self.scale, self.mixture)

    def label_spaces(self, texts: Sequence[str]) -> list[Any]:
        """The embedding of the base model, and the features of the words."""
        return [*self.base_model.label_spaces(texts), self.text.transform(texts)]

    def neighbors(self, texts: Sequence[str], k: int = 10) -> list[list[Neighbor]]:
        """The k training texts most similar to each text, with their labels; SettingError without an index."""
        if self.index is None or not self.index.n_features:
            raise SettingError(
                "a hybrid without an index of training texts",
                wanted="one trained with neighbors",
                next_step="train it with --neighbors yes, or train the recipe retrieval",
                where="neighbors",
            )
        at_least_one("k", k)
        return nearest_texts(self.index, whole_words(self.text, self.text.transform(as_texts(texts))), k)

    @property
    def _format(self) -> int:
        """The format of the folder."""
        return trees_format([*self.joint_trees, *self.word_trees])

    def inner_models(self) -> dict[str, Classifier]:
        """The neural model."""
        return {BASE: self.base_model}

    def _write(self, folder: Path) -> dict[str, Any]:
        """Writes features, trees and index."""
        self.text.save(folder / "text")
        facts = {
            "base": BASE,
            "joint_trees": save_trees(folder, "joint", self.joint_trees),
            "word_trees": save_trees(folder, "words", self.word_trees),
            "scale": self.scale,
            "mixture": self.mixture.config(),
        }
        return facts | save_search(folder, self.index, self.learned, self.searched)

    @classmethod
    def _read(cls, folder: Path, device: torch.device, trust: Sequence[str]) -> Self:
        """The trees run on the CPU with memory-mapped weights, the model on `device`."""
        facts = ("base", "joint_trees", "word_trees", "scale", "mixture")
        manifest = read_model_manifest(folder, "hybrid model", facts=facts)
        base_folder, text_folder = (
            inner_folder(folder, name, next_step=RESTORE_FOLDER) for name in (manifest["base"], "text")
        )
        base = NeuralClassifier.load(base_folder, device=device, trust=trust)
        text = SparseText.load(text_folder)
        joint = load_trees(folder, "joint", text.n_word_features, manifest, "joint_trees")
        words = load_trees(folder, "words", text.size, manifest, "word_trees")
        mixture = Mixture.from_config(manifest["mixture"])
        further = load_search(folder, manifest)
        return cls(base, text, joint, words, manifest["scale"], mixture, *further)


def scaled_embeddings(model: NeuralClassifier, texts: Sequence[str], scale: float) -> np.ndarray:
    """The last view of each text, rescaled to norm `scale`: (N, D) float32; DataError for NaN or inf."""
    found = np.zeros((len(texts), model.encoder.dim), np.float32)
    for start in range(0, len(texts), BLOCK):  # the views of all texts may not fit into memory
        found[start : start + BLOCK] = model.encode(texts[start : start + BLOCK])[:, -1]
    return rescale(scale, found)


def rescale(scale: float, views: np.ndarray) -> np.ndarray:
    """Rescales rows (N, D) in place to norm `scale`, except rows of zeros; DataError for NaN or inf."""
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


def whole_words(text: SparseText, x: sp.csr_matrix) -> sp.csr_matrix:
    """Rows (N, V) without the character n-grams, rescaled to norm 1: (N, text.n_word_features)."""
    return x if text.n_word_features == text.size else l2_rows(x[:, : text.n_word_features])
