"""A label tree, each level scored among the children of what the level above ranks best: CascadeXML."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.heads.abilities import DenseGradient, RowGradients
from megalabel.heads.base import Head, topk_by_rows
from megalabel.heads.cascade_settings import CascadeSettings
from megalabel.heads.checks import check_labels, check_offsets, check_permutation
from megalabel.kernels.candidates.beam import BeamSearch, Scores
from megalabel.kernels.candidates.candidate_scores import candidate_bce
from megalabel.kernels.candidates.candidates import Candidates, TableGradient
from megalabel.kernels.candidates.shortlist import shortlist
from megalabel.kernels.core.memo import memo_on
from megalabel.labels.tree import LabelTree
from megalabel.types import Positives, Reduction, ScoreType, TopK

DEPTHS = (1, 5)  # of the precision in `metrics`
MEASURED = 64  # texts of a batch that it is measured on


class CascadeHead(RowGradients, Head):
    """One linear classifier for each level of a label tree, all trained at once (CascadeXML, NeurIPS 2022).

    Level 0 scores every cluster. A further level scores the children of the `beams[i]` clusters that the level
    above gives the highest probability; in training the clusters of the text's own labels are always among them.
    The last level are the labels. The loss is binary cross-entropy, the **mean** over the true candidates of each
    level in the batch (there is no padding), times the level's weight, summed over the levels. With
    `reduction="sum"` nothing is divided, which suits SGD. The mean is over the candidates of the micro-batch,
    which are nearly, and not exactly, as many for each part of a batch.

    Nothing of size B × C × D or B × L is ever held. Beside the tables and the tree (8 bytes per label and cluster)
    a step needs 12 bytes for each candidate of a text and about 64 for each shortlisted cluster.

    `settings` may be replaced, by other beams for instance, to trade speed for accuracy in prediction.

    With a `RowOptimizer` attached, the gradients of the tables stay factored in `row_gradients`; without one they
    are dense, and any torch optimizer trains the head.

    Args:
        tree: the label tree, K cluster levels above the labels. Rows of the tables are in its order.
        dim: D, the width of a view.
        beams: for each cluster level, how many clusters are kept.
        n_views: K + 1, one per level, coarse to fine; or 1, which all levels share. None for K + 1.
        dropout: fraction of a view's entries dropped in training, a number for each level; empty for none.
        level_weights: of the levels' losses; empty for 1 each.
        scores: what a label is ranked by: its own probability ("label"), times that of its cluster
            ("label*parent"), times those of all clusters above ("path"), or times the root of the cluster's, times
            the fourth root of that above, and so on ("fading").
        reduction: "mean" or "sum".
        generator: where initial weights are drawn from; None for torch's own.

    Raises:
        SettingError: an argument that does not fit the tree.
    """

    score_type: ScoreType = "probability"

    def __init__(
        self,
        tree: LabelTree,
        dim: int,
        *,
        beams: Sequence[int],
        n_views: int | None = None,
        dropout: Sequence[float] = (),
        level_weights: Sequence[float] = (),
        scores: Scores = "label*parent",
        reduction: Reduction = "mean",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        made = self.settings = CascadeSettings(
            tree.sizes, dim, tuple(beams), n_views or 0, tuple(dropout), tuple(level_weights), scores, reduction
        )
        self.n_labels, self.dim, self.n_views, self.reduction = tree.n_labels, dim, made.n_views, made.reduction
        self.sizes = made.sizes
        self.weights = nn.ParameterList(torch.empty(n, dim) for n in self.sizes)
        self.biases = nn.ParameterList(torch.zeros(n) for n in self.sizes)
        for weight in self.weights:
            nn.init.xavier_uniform_(weight, generator=generator)
        for i, offsets in enumerate(tree.offsets):
            self.register_buffer(f"offsets_{i}", torch.from_numpy(np.array(offsets)))
        self.register_buffer("place", torch.from_numpy(tree.position))
        self._found, self._wanted = [0] * len(self.beams), [0] * len(self.beams)
        self._last: list[tuple[Tensor, Candidates, Positives]] = []

    @property
    def beams(self) -> tuple[int, ...]:
        """For each cluster level, how many clusters are kept."""
        return self.settings.beams

    @property
    def offsets(self) -> list[Tensor]:
        """Where each cluster's children begin on the next level, (n_i + 1,) int64 per cluster level."""
        return [self.get_buffer(f"offsets_{i}") for i in range(len(self.beams))]

    def tables(self) -> list[tuple[Tensor, Tensor]]:
        """Weights (n_i, D) and biases (n_i,), coarse to fine."""
        return list(zip(self.weights, self.biases, strict=True))

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The levels' losses, weighted and summed: (B, V, D) to a scalar."""
        self.check_views(views)
        settings, nodes = self.settings, self.nodes(positives)
        candidates = Candidates.all_rows(len(views), self.sizes[0], views.device)
        total = views.new_zeros(())
        self._last = []
        for i, (weight, bias) in enumerate(self.tables()):
            view = nn.functional.dropout(views[:, min(i, self.n_views - 1)], settings.dropout[i], self.training)
            scale = settings.level_weights[i] / (max(candidates.n_cells, 1) if self.reduction == "mean" else 1)
            value, logits, gradient = candidate_bce(view, weight, bias, candidates, nodes[i], scale)
            total = total + self._with_gradient(value, gradient, i)
            self._last.append((logits, candidates, nodes[i]))
            if i < len(self.beams):
                short = shortlist(logits, candidates, self.beams[i], self.offsets[i], nodes[i])
                self._found[i] += short.found
                self._wanted[i] += short.wanted
                candidates = short.candidates
        return total

    def nodes(self, positives: Positives) -> list[Positives]:
        """The positives of each level, coarse to fine: a cluster is positive where a label below it is."""
        check_labels(positives, self.n_labels)
        levels = [Positives.of(positives.rows, self.get_buffer("place")[positives.labels])]
        for offsets in reversed(self.offsets):
            below = levels[-1]
            levels.append(Positives.of(below.rows, torch.searchsorted(offsets, below.labels, right=True) - 1))
        return levels[::-1]

    @torch.no_grad()
    def init_prior(self, texts_with: Sequence[Tensor], n_texts: int) -> None:
        """Starts the biases at log odds: of `n_texts`, texts_with[i] (n_i,) have a label below each node.

        Below the first level they are the odds of a child among the texts that shortlist its parent: at least
        all that have the parent, and at least the beam's even share. A node without texts counts as half a text.

        Raises:
            SettingError: counts that are not of these levels and texts.
        """
        shapes = [tuple(counts.shape) for counts in texts_with]
        if shapes != [(n,) for n in self.sizes] or any(c.min() < 0 or c.max() > n_texts for c in texts_with):
            raise SettingError(
                f"counts of shapes {shapes}",
                wanted=f"shapes {[(n,) for n in self.sizes]}, from 0 to n_texts = {n_texts}",
                next_step="count the training texts of each node",
                where="texts_with",
            )
        for i, (counts, bias) in enumerate(zip(texts_with, self.biases, strict=True)):
            listed = torch.full((1,), float(n_texts), device=counts.device)
            if i:
                above = torch.repeat_interleave(texts_with[i - 1], self.offsets[i - 1].diff()).float()
                listed = above.clamp(min=n_texts * self.beams[i - 1] / self.sizes[i - 1])
            bias.copy_(((counts + 0.5) / (listed + 1)).clamp(max=0.999).logit())

    def _with_gradient(self, value: Tensor, gradient: TableGradient, level: int) -> Tensor:
        if not torch.is_grad_enabled():
            return value
        if self.row_gradients is not None:
            if self.training:  # not in evaluation, where nothing would empty the list
                self.row_gradients[level].append(gradient)
            return value
        with_gradient: Tensor = DenseGradient.apply(value, self.weights[level], self.biases[level], gradient)
        return with_gradient

    @torch.no_grad()
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best labels that the beams reach: (B, V, D) to ids and probabilities (B, k).

        Exact where `beams` cover every cluster; -1 where they reach fewer than k labels.
        """
        self.check_views(views)
        tree, key = [self.get_buffer("place"), *self.offsets], (self.beams, self.settings.scores)
        search = memo_on(tree, "beam search", self._search, key=key, memory=list(self.parameters()))
        return topk_by_rows(lambda hidden: search(views, k, hidden), k, exclude, row_to_label)

    def _search(self) -> BeamSearch:
        weights, biases = [w.detach() for w in self.weights], [b.detach() for b in self.biases]
        order = self.get_buffer("place").argsort()
        return BeamSearch(weights, biases, self.offsets, order, self.beams, scores=self.settings.scores)

    def metrics(self) -> dict[str, float]:
        """Of each level, in percent: shortlist recall, the fraction of positive clusters that the level itself
        ranked into its beam, since the last call; and P@1 and P@5 among the candidates of some texts of the last
        batch.
        """
        found: dict[str, float] = {}
        for i, (hits, wanted) in enumerate(zip(self._found, self._wanted, strict=True)):
            if wanted:
                found[f"recall level {i}"] = 100 * hits / wanted
        for i, (logits, candidates, positives) in enumerate(self._last):
            for k in DEPTHS:
                found[f"P@{k} level {i}"] = 100 * _precision(logits, candidates, positives, k)
        self._found, self._wanted, self._last = [0] * len(self.beams), [0] * len(self.beams), []
        return found

    def check_state(self) -> None:
        """Refuses a tree that does not lead from each cluster to its children and to each label once."""
        for offsets, n_below in zip(self.offsets, self.sizes[1:], strict=True):
            check_offsets(offsets, n_below, "offsets")
        check_permutation(self.get_buffer("place"), self.n_labels, "place")

    def config(self) -> dict[str, Any]:
        """The shape and how it is searched; the tree itself is among the tensors."""
        made = self.settings
        shape = {"sizes": list(made.sizes), "dim": made.dim, "n_views": made.n_views}
        return {**shape, "beams": list(made.beams), "scores": made.scores, "reduction": made.reduction}

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """A head of the same shape, its tree and weights still to be loaded."""
        sizes = config["sizes"]
        offsets = [np.linspace(0, below, n + 1).astype(np.int64) for n, below in pairwise(sizes)]
        tree = LabelTree(tuple(offsets), np.arange(sizes[-1]))
        return cls(tree, **{key: value for key, value in config.items() if key != "sizes"})

    def extra_repr(self) -> str:
        """What print(head) shows."""
        return f"sizes={self.sizes}, dim={self.dim}, n_views={self.n_views}, beams={self.beams}"


def _precision(logits: Tensor, candidates: Candidates, positives: Positives, k: int) -> float:
    """The fraction of positives among the k best candidates of the first texts."""
    ends = candidates.text_cells()[: MEASURED + 1].tolist()
    texts, rows = len(ends) - 1, candidates.rows_of_cells()
    true = set(zip(positives.rows.tolist(), positives.labels.tolist(), strict=True))
    hits = 0
    for text in range(texts):
        scores = logits[ends[text] : ends[text + 1]]
        best = scores.topk(min(k, len(scores))).indices + ends[text]
        hits += sum((text, row) in true for row in rows[best].tolist())
    return hits / max(texts * k, 1)
