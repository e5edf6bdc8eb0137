"""A linear model as one graph: the code points of texts to the labels that its trees give the best mean."""

from __future__ import annotations

from itertools import groupby

import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.kernels.linear.compact_chunks import compact, float32_values
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.models.linear import DEEP, LinearClassifier
from megalabel.onnx.base import ExportedGraph, Inputs
from megalabel.onnx.forest import ForestGraph
from megalabel.onnx.ranking import Ranked
from megalabel.onnx.words import WordGraph


class LinearGraph(ExportedGraph):
    """Features, trees and top k of a `LinearClassifier`.

    Args:
        model: over texts.
        k: labels per text, from 1 to those of the model.

    Raises:
        SettingError: a model over bags of words, or a vocabulary that `WordGraph` refuses.
    """

    def __init__(self, model: LinearClassifier, k: int) -> None:
        super().__init__()
        if isinstance(model.text, BagOfWords):
            raise SettingError(
                f"a linear model over bags of words of {model.text.size:,} features",
                wanted="one over texts, whose features the graph computes",
                next_step="train on the texts",
                where="run",
            )
        self.text, self.k, self.n_trees = WordGraph(model.text), k, len(model.trees)
        depth = k if self.n_trees == 1 else max(DEEP * max(k, 10), model.deep)
        groups = groupby(sorted(model.trees, key=_shape), key=_shape)
        self.forests = nn.ModuleList(ForestGraph(list(trees), depth) for _, trees in groups)
        self.folds = model.text.pattern != "symbols"
        self.eval()

    def forward(self, code_points: Tensor) -> tuple[Tensor, Tensor]:
        """Maps code points (n, C) int32 to labels (n, k) int64 and scores (n, k) float32, best first."""
        features, n = self.text(code_points), code_points.shape[0]
        found = [forest(features, n) for forest in self.forests]
        scores, labels = (torch.cat(parts, 1) for parts in zip(*found, strict=True))
        scores, labels = mean_of_trees(scores, labels, self.n_trees, self.k)
        return labels, scores

    def inputs(self) -> Inputs:
        """Code points."""
        example = torch.arange(96, 106, dtype=torch.int32).view(2, 5)
        dims = {0: torch.export.Dim("texts"), 1: torch.export.Dim("characters")}
        return Inputs(("code_points",), (example,), dims)


def mean_of_trees(scores: Tensor, labels: Tensor, n_trees: int, k: int) -> Ranked:
    """The k labels with the largest sums of scores / n_trees, ties to the lower label, (n, k).

    Args:
        scores: (n, m), 0 where there is no label.
        labels: (n, m) int64, each up to n_trees times; -1 for none.
    """
    if labels.shape[1] < k:
        missing = k - labels.shape[1]
        scores, labels = nn.functional.pad(scores, (0, missing)), nn.functional.pad(labels, (0, missing), value=-1)
    labels, order = labels.sort(dim=1)
    scores = scores.gather(1, order) / n_trees
    is_first = torch.cat([torch.ones_like(labels[:, :1], dtype=torch.bool), labels[:, 1:] != labels[:, :-1]], 1)
    place = is_first.long().cumsum(1) - 1  # of each label among the different ones
    sums = torch.zeros_like(scores).scatter_add(1, place, scores)
    different = torch.full_like(labels, -1).scatter_reduce(1, place, labels, "amax")
    sums = sums.masked_fill(different < 0, -torch.inf)
    best, at = sums.topk(k, dim=1)
    return best, different.gather(1, at)


def in_8_bits(model: LinearClassifier) -> LinearClassifier:
    """The same model with weights of trees in 8 bits, as `megalabel train linear --weights int8` stores them."""
    trees = [tree.with_levels([_rounded(level) for level in tree.levels]) for tree in model.trees]
    narrow = LinearClassifier(model.text, trees, model.label_texts)
    narrow.deep = model.deep
    return narrow


def _rounded(level: Chunks) -> Chunks:
    if level.scales is not None:
        return level
    arrays = level.arrays | {"values": float32_values(level)}
    return compact(Chunks(level.n_features, **arrays), "int8", short_features=False)


def _shape(tree: SparseBeam) -> tuple[object, ...]:
    """What trees have in common that are searched together."""
    stored = [(level.values.dtype.str, level.scales is None) for level in tree.levels]
    return tree.beams, tree.post_processor, stored
