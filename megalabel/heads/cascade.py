"""A label tree whose levels each score only the children of the best clusters above: CascadeXML."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.heads.base import topk_by_rows
from megalabel.heads.cascade_base import CascadeBase
from megalabel.heads.cascade_precision import PRECISION_AT, precision
from megalabel.heads.cascade_tables import add_tables, add_tree, check_scales, check_tree
from megalabel.kernels.candidates.beam import BeamSearch, PathScore
from megalabel.kernels.candidates.candidate_scores import candidate_bce
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.candidates.narrow_rows import RowBuffer, narrow_bce
from megalabel.kernels.candidates.shortlist import shortlist
from megalabel.kernels.core.dtypes import weight_type
from megalabel.kernels.core.memo import memo_on
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.labels.tree import LabelTree
from megalabel.types import Positives, Reduction, TopK


class CascadeHead(CascadeBase):
    """One linear classifier per level of a label tree, all trained together (CascadeXML, NeurIPS 2022).

    Level 0 scores every cluster. Each further level scores the children of the `beams[i]` clusters to which the
    level above gives the highest probabilities; in training the clusters of a text's own labels are always
    included. The last level consists of the labels.

    The loss is binary cross-entropy, the **mean** over the candidates of each level in the batch (without
    padding), weighted by `level_weights` and summed over the levels. With `reduction="sum"` it is the sum over the
    candidates, which suits SGD. The mean is over the candidates of a micro-batch, whose number differs slightly
    between the parts of a batch.

    No tensor of size B × C × D or B × L is allocated. Besides the tables and the tree (8 bytes per label and
    cluster), a step needs 12 bytes per candidate of a text and about 64 bytes per shortlisted cluster.

    With a `RowOptimizer` attached, the gradients of the tables stay factored in `row_gradients`; without one they
    are dense, and any torch optimizer trains the head.

    Args:
        tree: the label tree, K cluster levels above the labels. The rows of the tables are in its order.
        dim: D, the width of a view.
        beams: for each cluster level, the number of clusters kept.
        n_views: K + 1, one per level, coarse to fine, or 1 for a view that all levels share. None for K + 1.
        level_dropout: dropout probability of the view of each level; empty for no dropout.
        level_weights: weights of the levels' losses; empty for 1 each.
        path_score: how the score of a label is computed: its own probability ("label"), times that of its cluster
            ("label*parent"), times those of all clusters above ("path"), or times the square root of that of its
            cluster, the fourth root of that of the cluster above, and so on ("decayed").
        reduction: "mean" or "sum".
        weights: the type in which the weights are stored: "float32", "bfloat16" or "float8". Narrow weights are
            trained by `RowSGD` and `RowAdagrad`, and have no gradients; a few rows at a time are read as float32.
        initialize: whether to draw narrow weights, which takes long; without, they are zeros.
        generator: random generator of the initial weights; None for torch's default.

    Raises:
        SettingError: an argument does not fit the tree.
    """

    uses_weights = True

    def __init__(
        self,
        tree: LabelTree,
        dim: int,
        *,
        beams: Sequence[int],
        n_views: int | None = None,
        level_dropout: Sequence[float] = (),
        level_weights: Sequence[float] = (),
        path_score: PathScore = "label*parent",
        reduction: Reduction = "mean",
        weights: str = "float32",
        initialize: bool = True,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            tree.sizes, dim, beams, n_views, level_dropout, level_weights, path_score, reduction,
            weight_type(weights),
        )  # fmt: skip
        add_tables(self, initialize, generator)
        add_tree(self, tree)
        self._rows = RowBuffer()

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The weighted sum of the losses of all levels: (B, V, D) to a scalar."""
        self.check_views(views)
        nodes = self.nodes(positives)
        candidates = Candidates.all_rows(len(views), self.sizes[0], views.device)
        total = views.new_zeros(())
        self._last = []
        for i, (weight, bias) in enumerate(self.tables()):
            view = nn.functional.dropout(views[:, min(i, self.n_views - 1)], self.level_dropout[i], self.training)
            scale = self.level_weights[i] / (max(candidates.n_cells, 1) if self.reduction == "mean" else 1)
            candidates.fetch(self.weights[i])
            if isinstance(weight, NarrowTable):
                found = narrow_bce(view, weight, bias, candidates, nodes[i], scale, self._rows)
            else:
                found = candidate_bce(view, weight, bias, candidates, nodes[i], scale)
            value, logits, gradient = found
            total = total + self._with_gradient(value, gradient, i)
            self._last.append((logits, candidates, nodes[i]))
            if i < len(self.beams):
                short = shortlist(logits, candidates, self.beams[i], self.offsets[i], nodes[i])
                self._found[i] += short.found
                self._wanted[i] += short.wanted
                candidates = short.candidates
        return total

    @torch.no_grad()
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best labels among those that the beams reach: (B, V, D) to ids and probabilities (B, k).

        Exact if `beams` cover every cluster. Ids are -1 where the beams reach fewer than k labels.
        """
        self.check_views(views)
        tree, key = [self.get_buffer("label_to_row"), *self.offsets], (self.beams, self.path_score)
        search = memo_on(tree, "beam search", self._search, key=key, memory=list(self.parameters()))
        return topk_by_rows(lambda hidden: search(views, k, hidden), k, exclude, row_to_label)

    def _search(self) -> BeamSearch:
        weights, biases = zip(*self.tables(), strict=True)
        order = self.get_buffer("label_to_row").argsort()
        return BeamSearch(weights, biases, self.offsets, order, self.beams, path_score=self.path_score)

    def _precision(self, logits: Tensor, candidates: Candidates, positives: Positives) -> dict[int, float]:
        return {k: precision(logits, candidates, positives, k) for k in PRECISION_AT}

    def check_state(self) -> None:
        """Refuses a tree that does not lead from each cluster to its children and to each label once."""
        check_tree(self)
        check_scales(self)

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Makes a head of the same shape; its tree and weights are still to be loaded."""
        sizes = config["sizes"]
        offsets = [np.linspace(0, below, n + 1).astype(np.int64) for n, below in pairwise(sizes)]
        tree = LabelTree(tuple(offsets), np.arange(sizes[-1]))
        return cls(tree, initialize=False, **{key: value for key, value in config.items() if key != "sizes"})
