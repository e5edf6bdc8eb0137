"""Ranks labels by search: votes of the nearest training texts, and similarity to label documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import scipy.sparse as sp

from megalabel.data.texts import Texts
from megalabel.errors import RESTORE_FOLDER, DataError, SettingError
from megalabel.inputs.sparse_text import SparseText
from megalabel.kernels.merging.ranked import Ranked
from megalabel.kernels.sparse.sparse_rows import product_keep_largest
from megalabel.metrics.topk import topk_from_csr
from megalabel.models.base import FORMAT, Advance, Classifier, check_room, class_name, read_model_manifest
from megalabel.models.depth import at_least_one
from megalabel.models.facts import load_facts, save_facts
from megalabel.models.label_names import NAMES, load_names, save_names
from megalabel.models.mixture import DEPTH, Mixture
from megalabel.models.reading import read_model
from megalabel.models.text_list import as_texts
from megalabel.retrieval.index import RetrievalIndex
from megalabel.storage.files import atomic_folder
from megalabel.storage.manifest import inner_folder, write_manifest
from megalabel.types import ScoreType, TopK

if TYPE_CHECKING:
    import torch

POWER = 2  # of similarities, in votes
TYPES: tuple[ScoreType, ScoreType] = ("probability", "probability")


@dataclass(frozen=True)
class Neighbor:
    """A training text near to a text.

    row: the row of the training set, or −1 − l for the text of label l. similarity: from 0 to 1. labels: ids.
    """

    row: int
    similarity: float
    labels: tuple[int, ...]


class RetrievalClassifier(Classifier):
    """Merges the votes of the nearest training texts and the similarities of label documents.

    Args:
        text: maps texts to the features of the index.
        index: the training texts and label documents.
        mixture: of the two rankings, votes first.
        label_texts: the names of the L labels.

    Raises:
        SettingError: the index has other features or labels, or the mixture another number of weights.
    """

    loss_name = "mixture"

    def __init__(self, text: SparseText, index: RetrievalIndex, mixture: Mixture, label_texts: Texts) -> None:
        sizes = index.n_features, len(index.known.counts), len(mixture.weights)
        if sizes != (text.size, len(label_texts), len(TYPES)):
            raise SettingError(
                f"an index of {sizes[0]:,} features and {sizes[1]:,} labels, and {sizes[2]} weights",
                wanted=f"{text.size:,} features, {len(label_texts):,} labels, and {len(TYPES)} weights",
                next_step="build the index from the features and labels of one corpus",
                where="index",
            )
        self.text, self.index, self.mixture, self.label_texts = text, index, mixture, label_texts

    def rank(self, texts: Any, k: int, *, exclude: np.ndarray | None, batch_size: int, advance: Advance) -> TopK:
        """The k best labels of a block of texts, scores from 0 to 1."""
        x = self.text.transform(texts)
        merged = self.mixture.merge(rankings(self.index, x, max(k, DEPTH), exclude), TYPES, k)
        advance(x.shape[0])
        return merged

    def neighbors(self, texts: Sequence[str], k: int = 10) -> list[list[Neighbor]]:
        """The k training texts most similar to each text, best first, fewer if fewer share a word with it.

        Raises:
            SettingError: k is below 1.
            DataError: not a list of texts.
        """
        at_least_one("k", k)
        return nearest_texts(self.index, self.text.transform(as_texts(texts)), k)

    def with_rows(self, texts: Sequence[str], labels: sp.csr_matrix) -> RetrievalClassifier:
        """The model with further training texts, at once and without training; vocabulary and weights stay.

        Args:
            texts: n texts, which get the rows that follow those of the training set.
            labels: (n, L) CSR, where a text has a label the weight of the text, else 0.

        Raises:
            DataError: not a list of texts, or labels of another shape.
        """
        texts = as_texts(texts)
        if labels.shape != (len(texts), len(self.label_texts)):
            raise DataError(
                f"labels {labels.shape} for {len(texts)} texts",
                wanted=f"({len(texts)}, {len(self.label_texts)})",
                where="labels",
            )
        first = int(self.index.origins.max(initial=-1)) + 1
        index = self.index.with_rows(self.text.transform(texts), labels, np.arange(first, first + len(texts)))
        model = type(self)(self.text, index, self.mixture, self.label_texts)
        model.trained_on, model.metadata = self.trained_on, self.metadata
        return model

    def add_rows(self, texts: Sequence[str], labels: sp.csr_matrix) -> None:
        """Adds training texts to this model; as `with_rows`, which returns a new one."""
        self.index = self.with_rows(texts, labels).index

    def label_spaces(self, texts: Sequence[str]) -> list[Any]:
        """The features of the texts: (N, V) float32 CSR."""
        return [self.text.transform(texts)]

    def save(self, folder: str | Path) -> None:
        """Writes features, index and names; an older model there is replaced. SettingError otherwise."""
        folder = check_room(folder)
        with atomic_folder(folder) as new:
            self.text.save(new / "text")
            self.index.save(new / "index")
            save_names(new, self.label_texts)
            save_facts(new, self)
            facts = {"n_labels": len(self.label_texts), "mixture": self.mixture.config()}
            write_manifest(new, FORMAT, {"model": class_name(self), **facts})

    @classmethod
    def load(
        cls, folder: str | Path, *, device: str | torch.device | None = "cpu", trust: Sequence[str] = ()
    ) -> Self:
        """Reads what `save` wrote, with memory-mapped arrays; it runs on the CPU, whatever `device` is."""
        return read_model(folder, cls._read)

    @classmethod
    def _read(cls, folder: Path) -> Self:
        manifest = read_model_manifest(folder, "retrieval model", facts=("mixture",), files=(NAMES,))
        text, index = (inner_folder(folder, name, next_step=RESTORE_FOLDER) for name in ("text", "index"))
        mixture = Mixture.from_config(manifest["mixture"])
        model = cls(SparseText.load(text), RetrievalIndex.load(index), mixture, load_names(folder))
        load_facts(folder, model)
        return model


def rankings(index: RetrievalIndex, x: sp.csr_matrix, k: int, exclude: np.ndarray | None = None) -> list[TopK]:
    """The k labels with the most votes of the nearest rows, and those of the nearest label documents.

    Args:
        index: the rows and documents.
        x: (n, V) CSR, the features of n texts.
        k: labels per ranking.
        exclude: (F, 2) pairs (row, label) that are left out.
    """
    rows, documents = index.near(x)
    shape = (x.shape[0], len(index.known.counts))
    weights = _sparse(Ranked(rows.ids, rows.scores**POWER), (shape[0], len(index.origins)))
    totals = np.asarray(weights @ index.row_weights).ravel()
    weights.data /= np.repeat(np.maximum(totals, 1e-12), np.diff(weights.indptr)).astype(np.float32)
    has = index.known.row_labels
    votes = product_keep_largest(weights, has, k if exclude is None else shape[1])
    found = [votes, _sparse(documents, shape)]
    if exclude is not None and len(exclude):
        found = [_without(scores, exclude) for scores in found]
    return [topk_from_csr(scores, k) for scores in found]


def nearest_texts(index: RetrievalIndex, x: sp.csr_matrix, k: int) -> list[list[Neighbor]]:
    """The k rows of an index nearest to each row of x (n, V)."""
    ids, similarities = index.search(x, k)
    has = index.known.row_labels
    return [
        [
            Neighbor(
                int(index.origins[r]), float(s), tuple(has.indices[has.indptr[r] : has.indptr[r + 1]].tolist())
            )
            for r, s in zip(rows, values, strict=True)
            if r >= 0
        ]
        for rows, values in zip(ids, similarities, strict=True)
    ]


def _sparse(ranked: Ranked, shape: tuple[int, int]) -> sp.csr_matrix:
    """The scores of a ranking as CSR (n, columns) float32."""
    there = ranked.ids >= 0
    rows = np.repeat(np.arange(shape[0]), there.sum(axis=1))
    found = sp.csr_matrix((ranked.scores[there].astype(np.float32), (rows, ranked.ids[there])), shape=shape)
    found.sort_indices()
    return found


def _without(scores: sp.csr_matrix, exclude: np.ndarray) -> sp.csr_matrix:
    """The scores without some pairs (row, label)."""
    width = np.int64(scores.shape[1])
    rows = np.repeat(np.arange(scores.shape[0], dtype=np.int64), np.diff(scores.indptr))
    left_out = np.isin(rows * width + scores.indices, exclude[:, 0].astype(np.int64) * width + exclude[:, 1])
    scores = scores.copy()
    scores.data[left_out] = 0
    scores.eliminate_zeros()
    return scores
