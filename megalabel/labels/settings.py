"""The settings with which `build_tree` makes the label tree of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class TreeSettings:
    """The features of the labels, the label graph, and the clusters.

    Attributes:
        source: the source of the label features: "texts" (PIFA; a label without training texts uses its label
            text), "names" (the label texts), or "both" side by side.
        graph: whether to smooth the features along the label graph.
        normalize: whether to scale the features to length 1 before smoothing, which the paper does not do. Without
            it, a neighbor with very many texts dominates the others; with it, the leaves are better on data with
            such frequent labels.
        depths: ascending; level i gets 2^depths[i] clusters. None: those of `choose_depths`.
        cluster_features: the number of features kept per label (for "both", per label and source until smoothing).
            They take about 16 · cluster_features · L bytes while they are made, twice that for "both".
        graph_file: a file (.npz) of the label graph: read if it is there, else written for the next tree.
        head_labels_above: labels with more training texts form one cluster of their own; 0 for none.
        walk_length, restart_probability, graph_top_k: settings of the label graph; see `label_graph`.
        tokenizer: "words", or "symbols" for formulas and codes.
        vocabulary: the maximum number of words.
        max_length: the number of words read per text.
        seed: seeds the random walks and the clustering.
    """

    source: str = "texts"
    graph: bool = True
    normalize: bool = False
    depths: Sequence[int] | None = None
    cluster_features: int = 1000
    graph_file: str | None = None
    head_labels_above: int = 0
    walk_length: int = 400
    restart_probability: float = 0.8
    graph_top_k: int = 10
    tokenizer: str = "words"
    vocabulary: int = 100_000
    max_length: int = 256
    seed: int = 0

    def words(self) -> dict[str, Any]:
        """The settings of the words of texts, which bags of words do not need."""
        return {"tokenizer": self.tokenizer, "vocabulary": self.vocabulary, "max_length": self.max_length}

    def walks(self) -> dict[str, Any]:
        """The settings of the label graph, under the names of `label_graph`."""
        return {
            "walk_length": self.walk_length,
            "restart_probability": self.restart_probability,
            "top_k": self.graph_top_k,
        }
