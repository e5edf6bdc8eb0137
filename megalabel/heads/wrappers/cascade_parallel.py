"""The part of a cascade that one of several processes owns: whole subtrees of the label tree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.distributed.collectives import Traffic, sum_of_all
from megalabel.distributed.merged_shortlist import merged_shortlist
from megalabel.distributed.merged_topk import merged_topk
from megalabel.distributed.own_texts import n_texts_of, shares
from megalabel.distributed.subtrees import Subtrees
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.heads.abilities import OwnLabels
from megalabel.heads.base import Head, topk_by_rows
from megalabel.heads.candidate_ranking import Paths, best_candidates
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.cascade_base import CascadeBase
from megalabel.heads.cascade_precision import merged_precision
from megalabel.heads.cascade_tables import add_own_tables, add_tree, check_tree
from megalabel.heads.checks import check_arguments, check_labels
from megalabel.heads.wrappers.whole_batch import gathered, share_random_state
from megalabel.kernels.candidates.beam import PathScore
from megalabel.kernels.candidates.candidate_scores import candidate_bce, candidate_scores
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.candidates.shortlist import Shortlist
from megalabel.kernels.core.checks import check_excluded
from megalabel.kernels.core.dtypes import FLOAT32, weight_type
from megalabel.kernels.core.memo import memo_on
from megalabel.labels.tree import LabelTree
from megalabel.types import Positives, Reduction, TopK

CELLS = 1 << 21  # candidates of all texts that prediction ranks together


class CascadeParallel(OwnLabels, CascadeBase):
    """A cascade whose subtrees are divided among processes; each of them holds the tables of its own.

    Every process scores its own candidates of all texts of the global batch: its views are those of all
    processes, and the gradients of views are summed over the processes and go back to the texts' own. The
    shortlists are those of all nodes (`distributed/merged_shortlist.py`), and the mean of a level is over the
    candidates of all processes. So W processes train the weights that one `CascadeHead` would with the same batch,
    up to the rounding of sums over processes. Row-wise optimizers need no exchange, as every row has one owner.

    The initial weights are those of `CascadeHead` from the same generator. The processes of a job call `loss`,
    `topk` and `metrics` at the same time.

    Args:
        tree: the whole label tree, which every process holds: 8 bytes per label and cluster.
        dim: D, the width of a view.
        world: the processes; None for those that this one has joined.
        subtrees: which of them owns what; None for about the same number of labels each.
        traffic: counts the bytes that are sent; None for a count of its own.
        beams, n_views, level_dropout, level_weights, path_score, reduction, generator: see `CascadeHead`.

    Raises:
        SettingError: an argument does not fit the tree, or the subtrees are those of another number of processes.
    """

    uses_weights = True

    @property
    def holder(self) -> CascadeParallel:
        """The head itself."""
        return self

    def __init__(
        self,
        tree: LabelTree,
        dim: int,
        *,
        world: World | None = None,
        subtrees: Subtrees | None = None,
        traffic: Traffic | None = None,
        beams: Sequence[int],
        n_views: int | None = None,
        level_dropout: Sequence[float] = (),
        level_weights: Sequence[float] = (),
        path_score: PathScore = "label*parent",
        reduction: Reduction = "mean",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(
            tree.sizes, dim, beams, n_views, level_dropout, level_weights, path_score, reduction, FLOAT32
        )
        self.world = world or World.current()
        self.subtrees = subtrees or Subtrees.balanced(tree, self.world.size)
        if self.subtrees.size != self.world.size:
            raise SettingError(
                f"subtrees for {self.subtrees.size} processes",
                wanted=f"those of {self.world.size}",
                where="subtrees",
            )
        self.own = [self.subtrees.rows(level, self.world.rank) for level in range(len(self.sizes))]
        add_own_tables(self, self.own, generator)
        add_tree(self, tree)
        self.replicated = frozenset(name for name, _ in self.named_buffers())
        fans = [int(np.diff(offsets).max()) for offsets in tree.offsets]
        self._widest = max(self.sizes[0], *(beam * fan for beam, fan in zip(self.beams, fans, strict=True)))
        self.traffic = Traffic() if traffic is None else traffic

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """This process's part of the loss of a batch; the sum over all processes is the loss of one.

        Args:
            views: (b, V, D), of this process's own texts: its share of the batch (`own_texts.shares`).
            positives: of all texts of the batch, with `texts` (B,).
        """
        self.check_views(views)
        check_labels(positives, self.n_labels)  # before the processes exchange anything
        views = gathered(views, shares(n_texts_of(positives), self.world.size), self.world, self.traffic)
        if any(self.level_dropout) and self.training:
            share_random_state(views.device, self.world)  # every process drops the same features of a text
        nodes, candidates = self.nodes(positives), self.first(len(views), views.device)
        values, counts = [], []
        self._last = []
        for i in range(len(self.sizes)):
            view = nn.functional.dropout(views[:, min(i, self.n_views - 1)], self.level_dropout[i], self.training)
            value, logits = self._level(i, view, candidates, nodes[i])
            values.append(value)
            counts.append(candidates.n_cells)
            self._last.append((logits, candidates, nodes[i]))
            if i < len(self.beams):
                short = self._shortlist(i, logits, candidates, nodes[i])
                self._found[i] += short.found
                self._wanted[i] += short.wanted
                candidates = short.candidates
        return self._total(views, values, counts)

    def _level(self, i: int, view: Tensor, candidates: Candidates, nodes: Positives) -> tuple[Tensor, Tensor]:
        """The sum of the losses of this process's candidates, times the level's weight, and their logits (C,)."""
        weight, bias = self.weights[i], self.biases[i]
        if not candidates.n_cells:  # the gradient is 0, not missing: optimizers of dense gradients move all rows
            nothing = weight[:0].sum() + bias[:0].sum() if self.row_gradients is None else view.new_zeros(())
            return nothing, view.new_zeros(0, dtype=weight.dtype)
        candidates.fetch(weight)
        value, logits, gradient = candidate_bce(view, weight, bias, candidates, nodes, self.level_weights[i])
        return self._with_gradient(value, gradient, i), logits

    def _total(self, views: Tensor, values: list[Tensor], counts: list[int]) -> Tensor:
        """The sum of the losses of all levels; those of a mean are divided by the candidates of all processes."""
        total = views[:0].sum()  # so that the exchange of gradients takes place in every process
        if self.reduction == "sum":
            return total + sum(values)
        n_cells = torch.tensor(counts, dtype=torch.int64, device=views.device)
        for value, n in zip(values, sum_of_all(n_cells, self.world, self.traffic), strict=True):
            total = total + value / n.clamp(min=1)
        return total

    def first(self, batch: int, device: torch.device) -> Candidates:
        """All of this process's coarsest clusters as candidates of each text."""
        if self.own[0]:
            return Candidates.all_rows(batch, len(self.own[0]), device)
        none = torch.zeros(batch + 1, dtype=torch.int64, device=device)
        return Candidates.of_blocks(none[:0], none[:0], none)

    def _shortlist(self, i: int, scores: Tensor, own: Candidates, nodes: Positives | None = None) -> Shortlist:
        k, columns, below = self.beams[i], self.subtrees.widest(i), self.child_offsets(i)
        return merged_shortlist(scores, own, k, below, columns, self.world, nodes, self.traffic)

    @torch.no_grad()
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best labels of all processes: the same views (B, V, D) in each give the same result (B, k)."""
        self.check_views(views)
        check_arguments(("k", k, "1 or more", k >= 1))
        check_excluded(exclude, len(views), self.n_labels)
        step = max(1, CELLS // self._widest)
        own, rows = self.own[-1], self.get_buffer("label_to_row")
        order = memo_on([rows], "own labels", lambda: rows.argsort()[own.start : own.stop].clone())

        def ranked(hidden: Positives | None) -> TopK:
            parts = [
                self._ranked(views[at : at + step], k, order, hidden and hidden.of_texts(at, at + step))
                for at in range(0, max(len(views), 1), step)
            ]
            return TopK(torch.cat([part.ids for part in parts]), torch.cat([part.scores for part in parts]))

        return topk_by_rows(ranked, k, exclude, row_to_label)

    def _ranked(self, views: Tensor, k: int, order: Tensor, exclude: Positives | None) -> TopK:
        """The k best labels of some texts; a beam search whose shortlists are those of all processes."""
        candidates, last = self.first(len(views), views.device), len(self.beams)
        paths = Paths(self.path_score, last)
        above = torch.zeros(len(candidates), dtype=torch.float64, device=views.device)
        for i in range(last + 1):
            logits = views.new_zeros(0)
            if candidates.n_cells:
                view = views[:, min(i, self.n_views - 1)]
                logits = candidate_scores(view, self.weights[i], self.biases[i], candidates).float()
            keys, down = paths.scores(i, logits, candidates, above)
            if i < last:
                short = self._shortlist(i, keys, candidates)
                above, candidates = paths.decayed(down[short.cells]), short.candidates
        best = best_candidates(keys, candidates, order, k, exclude)
        found = merged_topk(best, 0, k, self.world, self.traffic)
        return TopK(found.ids, paths.probabilities(found))

    def metrics(self) -> dict[str, float]:
        """See `CascadeHead.metrics`: over the labels and the texts of all processes."""
        counts = sum_of_all(torch.tensor([self._found, self._wanted]), self.world)
        self._found, self._wanted = counts.tolist()
        return super().metrics()

    def _precision(self, logits: Tensor, candidates: Candidates, positives: Positives) -> dict[int, float]:
        return merged_precision(logits, candidates, positives, self.world)

    def description(self) -> tuple[type[Head], dict[str, Any]]:
        """The class and the config of the cascade of all labels, which a saved model has."""
        return CascadeHead, self.config()

    def check_state(self) -> None:
        """Refuses a tree that does not lead from each cluster to its children and to each label once."""
        check_tree(self)


def cascade_over_processes(
    tree: LabelTree, dim: int, *, weights: str = "float32", **arguments: Any
) -> CascadeHead | CascadeParallel:
    """A `CascadeHead`; in a job of several processes, a `CascadeParallel` of this process's subtrees.

    Args:
        tree, dim, weights: see `CascadeHead`.
        arguments: further arguments of both.

    Raises:
        SettingError: an argument does not fit, or weights are narrow in a job of several processes.
    """
    if World.current().size == 1:
        return CascadeHead(tree, dim, weights=weights, **arguments)
    if weight_type(weights).is_narrow:
        raise SettingError(
            f"weights = {weights!r} of a cascade in a job of {World.current().size} processes",
            wanted="float32",
            next_step="leave the option out, or start it without torchrun",
            where="weights",
        )
    return CascadeParallel(tree, dim, **arguments)
