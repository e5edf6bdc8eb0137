"""The part of a cascade that one of several processes owns: whole subtrees of the label tree."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from megalabel.distributed.collecting import rows_to_main
from megalabel.distributed.collectives import Traffic, sum_of_all
from megalabel.distributed.merged_shortlist import merged_shortlist
from megalabel.distributed.merged_topk import merged_topk
from megalabel.distributed.subtrees import Subtrees
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.heads.base import topk_by_rows
from megalabel.heads.candidate_ranking import Paths, best_candidates
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.cascade_base import CascadeBase
from megalabel.heads.cascade_checks import check_counts
from megalabel.heads.cascade_precision import merged_precision
from megalabel.heads.cascade_tables import add_own_tables
from megalabel.heads.checks import check_arguments, check_labels, check_offsets, check_permutation
from megalabel.heads.wrappers.whole_batch import WholeBatch
from megalabel.kernels.candidates.beam import PathScore
from megalabel.kernels.candidates.candidate_scores import candidate_bce, candidate_scores
from megalabel.kernels.candidates.candidates import Candidates
from megalabel.kernels.candidates.shortlist import Shortlist
from megalabel.kernels.core.checks import check_excluded
from megalabel.kernels.core.dtypes import FLOAT32
from megalabel.labels.tree import LabelTree
from megalabel.types import Positives, Reduction, TopK

CELLS = 1 << 21  # candidates of all texts that prediction ranks together


class CascadeParallel(CascadeBase):
    """A cascade whose subtrees are divided among processes; each of them holds the tables of its own.

    Every process scores its own candidates of all texts of the global batch: its views are those of all
    processes, and the gradients of views are summed over the processes and go back to the texts' own. The
    shortlists are those of all nodes (`distributed/merged_shortlist.py`), and the mean of a level is over the
    candidates of all processes. So W processes train the weights that one `CascadeHead` would with the same batch,
    up to the rounding of sums over processes. Row-wise optimizers need no exchange, as every row has one owner.

    The initial weights are those of `CascadeHead` from the same generator. The processes of a job call `loss`,
    `topk`, `metrics` and `whole` at the same time.

    Args:
        tree: the whole label tree; it needs 8 bytes per label in every process.
        dim: D, the width of a view.
        world: the processes; None for those that this one has joined.
        subtrees: which of them owns what; None for about the same number of labels each.
        beams, n_views, level_dropout, level_weights, path_score, reduction, generator: see `CascadeHead`.

    Raises:
        SettingError: an argument does not fit the tree, or the subtrees are those of another number of processes.
    """

    uses_weights = True

    def __init__(
        self,
        tree: LabelTree,
        dim: int,
        *,
        world: World | None = None,
        subtrees: Subtrees | None = None,
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
        for i, offsets in enumerate(self.subtrees.offsets(tree, self.world.rank)):
            self.register_buffer(f"offsets_{i}", torch.from_numpy(offsets))
        self.register_buffer("label_to_row", torch.from_numpy(tree.position))
        fans = [int(np.diff(offsets).max()) for offsets in tree.offsets]
        self._widest = max(self.sizes[0], *(beam * fan for beam, fan in zip(self.beams, fans, strict=True)))
        self.batch = WholeBatch(self.world)

    @property
    def traffic(self) -> Traffic:
        """The bytes that `loss` and `topk` have sent."""
        return self.batch.traffic

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The loss of the batch of all processes, of which this one has views (B, V, D) and positives.

        The value is the same in all of them; its gradient leads to this process's tables and views.
        """
        self.check_views(views)
        check_labels(positives, self.n_labels)  # before they are exchanged
        views, positives = self.batch.gathered(views, positives)
        if any(self.level_dropout) and self.training:
            self.batch.share_random_state(views.device)  # every process drops the same features of a text
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
        """The sum of the losses of all levels, or of their means, over the candidates of all processes."""
        losses = torch.stack([value.detach().double() for value in values])
        n_cells = torch.tensor(counts, dtype=torch.float64, device=views.device)
        losses, n_cells = sum_of_all(torch.stack([losses, n_cells]), self.world, self.traffic)
        factors = 1 / n_cells.clamp(min=1) if self.reduction == "mean" else torch.ones_like(n_cells)
        own = views[:0].sum()  # so that the exchange of gradients takes place in every process
        for value, factor in zip(values, factors.to(views.dtype), strict=True):
            own = own + value * factor
        return own + (losses @ factors).to(own.dtype) - own.detach()

    def first(self, batch: int, device: torch.device) -> Candidates:
        """All of this process's coarsest clusters as candidates of each text."""
        if self.own[0]:
            return Candidates.all_rows(batch, len(self.own[0]), device)
        none = torch.zeros(batch + 1, dtype=torch.int64, device=device)
        return Candidates.of_blocks(none[:0], none[:0], none)

    def _shortlist(
        self, i: int, scores: Tensor, candidates: Candidates, nodes: Positives | None = None
    ) -> Shortlist:
        columns = self.subtrees.widest(i)
        return merged_shortlist(
            scores, candidates, self.beams[i], self.offsets[i], columns, self.world, nodes, self.traffic
        )

    @torch.no_grad()
    def init_prior(self, texts_with: Sequence[Tensor], n_texts: int) -> None:
        """Initializes the biases as `CascadeHead.init_prior` does, from the counts of all nodes."""
        check_counts(texts_with, self.sizes, n_texts)
        for i, (counts, own, bias) in enumerate(zip(texts_with, self.own, self.biases, strict=True)):
            listed = torch.full((1,), float(n_texts), device=counts.device)
            if i:
                parents = texts_with[i - 1][self.own[i - 1].start : self.own[i - 1].stop]
                above = parents.repeat_interleave(self.offsets[i - 1].diff().to(parents.device)).float()
                listed = above.clamp(min=n_texts * self.beams[i - 1] / self.sizes[i - 1])
            bias.copy_(((counts[own.start : own.stop] + 0.5) / (listed + 1)).clamp(max=0.999).logit())

    @torch.no_grad()
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best labels of all processes: the same views (B, V, D) in each give the same result (B, k)."""
        self.check_views(views)
        check_arguments(("k", k, "1 or more", k >= 1))
        check_excluded(exclude, len(views), self.n_labels)
        step = max(1, CELLS // self._widest)
        order = self.get_buffer("label_to_row").argsort()[self.own[-1].start : self.own[-1].stop]

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

    def _precision(self, logits: Tensor, candidates: Candidates, positives: Positives) -> dict[int, float]:
        return merged_precision(logits, candidates, positives, self.world)

    def whole(self) -> CascadeHead | None:
        """The cascade with the labels of all processes: on the CPU of the main process, None in the others."""
        levels = [shards.sizes for shards in self.subtrees.levels]
        state = {}
        for i, sizes in enumerate(levels):
            state[f"weights.{i}"] = rows_to_main(self.weights[i], sizes, self.world)
            state[f"biases.{i}"] = rows_to_main(self.biases[i], sizes, self.world)
        for i, offsets in enumerate(self.offsets):
            ends = rows_to_main(offsets[1:] + self.own[i + 1].start, levels[i], self.world)
            state[f"offsets_{i}"] = None if ends is None else pad(ends, (1, 0))
        if not self.world.is_main:
            return None
        state["label_to_row"] = self.get_buffer("label_to_row").cpu()
        with torch.random.fork_rng(devices=[]):  # the initial weights, which are replaced
            whole = CascadeHead.from_config(self.config())
        whole.load_state_dict(state)
        return whole

    def check_state(self) -> None:
        """Refuses subtrees that do not lead from each cluster to its children and to each label once."""
        for offsets, below in zip(self.offsets, self.own[1:], strict=True):
            if len(offsets) > 1:
                check_offsets(offsets, len(below), "offsets")
        check_permutation(self.get_buffer("label_to_row"), self.n_labels, "label_to_row")
