"""A classifier over label groups and one over the labels of the best groups, trained together: LightXML."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import logsigmoid, pad

from megalabel.errors import SettingError
from megalabel.heads.abilities import DenseGradient, RowGradients
from megalabel.heads.base import Head, topk_by_rows
from megalabel.heads.candidate_ranking import best_candidates
from megalabel.heads.checks import check_arguments, check_labels, check_offsets, check_permutation, check_reduction
from megalabel.kernels.candidates.candidate_scores import candidate_bce, candidate_scores
from megalabel.kernels.candidates.candidates import Candidates, TableGradient
from megalabel.kernels.candidates.shortlist import shortlist
from megalabel.kernels.core.checks import check_excluded
from megalabel.labels.tree import LabelTree
from megalabel.types import Positives, Reduction, ScoreType, TopK

CELLS = 1 << 21  # candidates of all texts that prediction ranks together


class LightXMLHead(RowGradients, Head):
    """Recalls groups of labels, then ranks the labels of these groups (LightXML, Jiang et al., AAAI 2021).

    The recalling part scores every group from the text's vector. The labels of the `candidates` groups with the
    highest scores are the candidates of the text; in training the groups of the text's own labels are always among
    them. So the negatives follow the model without a sampler. The ranking part maps the text's vector to a
    narrower one (the bottleneck) and scores the candidates. The score of a label is the product of its probability
    and that of its group.

    The loss is the sum of the binary cross-entropies of both parts: the **mean** over all texts and groups plus
    the mean over the candidates of the batch (without padding). With `reduction="sum"` both are sums.

    No tensor of size B × C × D or B × L is allocated. Besides the tables (8 bytes per label and group for the
    groups) a step needs 12 bytes per candidate of a text and about 64 per text and group.

    With a `RowOptimizer` attached, the gradients of both tables stay factored in `row_gradients`; without one they
    are dense, and any torch optimizer trains the head. The bottleneck always needs an optimizer of its own.

    Args:
        tree: the label groups, a tree of one level. The rows of the label table are in its order.
        dim: D, the width of a view.
        candidates: number of groups per text whose labels are candidates.
        bottleneck: width of the label table; 0 for D, without a linear map.
        reduction: "mean" or "sum".
        generator: random generator of the initial weights; None for torch's default.

    Raises:
        SettingError: the tree has several levels, or a number is out of range.
    """

    score_type: ScoreType = "probability"
    uses_weights = True

    def __init__(
        self,
        tree: LabelTree,
        dim: int,
        *,
        candidates: int,
        bottleneck: int = 300,
        reduction: Reduction = "mean",
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        check_arguments(
            ("tree", tree, "a tree of one level", tree.depth == 1),
            ("dim", dim, "1 or more", dim >= 1),
            ("candidates", candidates, f"from 1 to {tree.sizes[0]}", 1 <= candidates <= tree.sizes[0]),
            ("bottleneck", bottleneck, "0 or more", bottleneck >= 0),
        )
        check_reduction(reduction)
        self.n_groups, self.n_labels = tree.sizes
        self.dim, self.candidates, self.reduction = dim, int(candidates), reduction
        width = bottleneck or dim
        self.bottleneck = nn.Linear(dim, bottleneck) if bottleneck else nn.Identity()
        self.group_weight = nn.Parameter(torch.empty(self.n_groups, dim))
        self.group_bias = nn.Parameter(torch.zeros(self.n_groups))
        self.label_weight = nn.Parameter(torch.empty(self.n_labels, width))
        self.label_bias = nn.Parameter(torch.zeros(self.n_labels))
        for weight in self.parameters():
            if weight.ndim == 2:
                nn.init.xavier_uniform_(weight, generator=generator)
        if bottleneck:
            nn.init.zeros_(self.bottleneck.get_parameter("bias"))
        self.register_buffer("offsets", torch.from_numpy(np.array(tree.offsets[0])))
        self.register_buffer("label_to_row", torch.from_numpy(np.array(tree.position)))
        self._found = self._wanted = 0

    def tables(self) -> list[tuple[Tensor, Tensor]]:
        """The weights and biases of the groups and, in the tree's tree_order, of the labels."""
        return [(self.group_weight, self.group_bias), (self.label_weight, self.label_bias)]

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The sum of the losses of both parts: (B, 1, D) to a scalar."""
        self.check_views(views)
        check_labels(positives, self.n_labels)
        x = views[:, 0]
        labels = positives.with_pairs(positives.rows, self.get_buffer("label_to_row")[positives.labels])
        groups = labels.with_pairs(labels.rows, torch.searchsorted(self._offsets, labels.labels, right=True) - 1)
        every = Candidates.all_rows(len(x), self.n_groups, x.device)
        recall, logits = self._part(0, x, every, groups)
        short = shortlist(logits, every, self.candidates, self._offsets, groups)
        if self.training:
            self._found += short.found
            self._wanted += short.wanted
        rank, _ = self._part(1, self.bottleneck(x), short.candidates, labels)
        return recall + rank

    def _part(self, part: int, x: Tensor, candidates: Candidates, positives: Positives) -> tuple[Tensor, Tensor]:
        """The loss of a part, and the logits (C,) of its candidates."""
        weight, bias = self.tables()[part]
        scale = 1 / max(candidates.n_cells, 1) if self.reduction == "mean" else 1.0
        value, logits, gradient = candidate_bce(x, weight, bias, candidates, positives, scale)
        return self._with_gradient(value, gradient, part), logits

    def _with_gradient(self, value: Tensor, gradient: TableGradient, part: int) -> Tensor:
        if not torch.is_grad_enabled():
            return value
        if self.row_gradients is not None:
            if self.training:  # in evaluation an attached optimizer takes no gradients
                self.row_gradients[part].append(gradient)
            return value
        with_gradient: Tensor = DenseGradient.apply(value, *self.tables()[part], gradient)  # type: ignore[no-untyped-call]
        return with_gradient

    @torch.no_grad()
    def init_prior(self, texts_with: Sequence[Tensor], n_texts: int) -> None:
        """Initializes the biases with log odds of frequencies.

        The odds of a label are those among the texts that recall its group: at least all texts of the group, and
        at least the fraction `candidates` / G of the texts. A count of 0 is taken as half a text.

        Args:
            texts_with: the number of texts with a label of each group (G,), and with each label (L,) in the tree's
                order.
            n_texts: number of training texts.

        Raises:
            SettingError: counts that do not fit these groups, labels and texts.
        """
        shapes = [tuple(counts.shape) for counts in texts_with]
        if shapes != [(self.n_groups,), (self.n_labels,)] or any(
            c.min() < 0 or c.max() > n_texts for c in texts_with
        ):
            raise SettingError(
                f"counts of shapes {shapes}",
                wanted=f"shapes {[(self.n_groups,), (self.n_labels,)]}, from 0 to n_texts = {n_texts}",
                next_step="count the training texts of each group and label",
                where="texts_with",
            )
        of_groups, of_labels = (counts.float() for counts in texts_with)
        self.group_bias.copy_(((of_groups + 0.5) / (n_texts + 1)).logit())
        recalled = of_groups.clamp(min=n_texts * self.candidates / self.n_groups)
        above = recalled.repeat_interleave(self._offsets.diff().cpu())
        self.label_bias.copy_(((of_labels + 0.5) / (above + 1)).clamp(max=0.999).logit())

    @torch.no_grad()
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best labels of the `candidates` best groups: (B, 1, D) to ids and probabilities (B, k).

        Exact if `candidates` is the number of groups. Ids are -1 where fewer than k labels are candidates.
        """
        self.check_views(views)
        check_arguments(("k", k, "1 or more", k >= 1))
        check_excluded(exclude, len(views), self.n_labels)
        widest = int(self._offsets.diff().max())
        step = max(1, CELLS // (widest * self.candidates))
        tree_order = self.get_buffer("label_to_row").argsort()

        def ranked(exclude: Positives | None) -> TopK:
            starts = range(0, max(len(views), 1), step)
            parts = [
                self._ranked(views[at : at + step, 0], k, tree_order, exclude and exclude.of_texts(at, at + step))
                for at in starts
            ]
            return TopK(torch.cat([part.ids for part in parts]), torch.cat([part.scores for part in parts]))

        return topk_by_rows(ranked, k, exclude, row_to_label)

    def _ranked(self, x: Tensor, k: int, order: Tensor, exclude: Positives | None) -> TopK:
        """The k best labels of some texts x (B, D); row r of the label table is label order[r]."""
        every = Candidates.all_rows(len(x), self.n_groups, x.device)
        of_groups = candidate_scores(x, self.group_weight, self.group_bias, every)
        short = shortlist(of_groups, every, self.candidates, self._offsets)
        found = short.candidates
        logits = candidate_scores(self.bottleneck(x), self.label_weight, self.label_bias, found)
        group = logsigmoid(of_groups[short.cells].double())
        group = group.repeat_interleave(found.ends - found.starts, output_size=found.n_cells)
        keys = (group + logsigmoid(logits.double())).float()
        best = best_candidates(keys, found, order, k, exclude)
        missing = (0, max(k - best.k, 0))
        scores = torch.where(best.ids < 0, -torch.inf, best.scores.double().exp().float())
        return TopK(pad(best.ids, missing, value=-1), pad(scores, missing, value=-torch.inf))

    @property
    def _offsets(self) -> Tensor:
        return self.get_buffer("offsets")

    def metrics(self) -> dict[str, float]:
        """The percentage of positive groups that were recalled by their scores, since the last call."""
        found, wanted, self._found, self._wanted = self._found, self._wanted, 0, 0
        return {"recall level 0": 100 * found / wanted} if wanted else {}

    def check_state(self) -> None:
        """Refuses groups that do not hold each label once."""
        check_offsets(self._offsets, self.n_labels, "offsets")
        check_permutation(self.get_buffer("label_to_row"), self.n_labels, "label_to_row")

    def config(self) -> dict[str, Any]:
        """The shape and the number of candidate groups; the groups themselves are stored among the tensors."""
        return {
            "sizes": [self.n_groups, self.n_labels],
            "dim": self.dim,
            "candidates": self.candidates,
            "bottleneck": self.label_weight.shape[1] if isinstance(self.bottleneck, nn.Linear) else 0,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Makes a head of the same shape; its groups and weights are still to be loaded."""
        n_groups, n_labels = config["sizes"]
        offsets = np.linspace(0, n_labels, n_groups + 1).astype(np.int64)
        rest = {key: value for key, value in config.items() if key != "sizes"}
        return cls(LabelTree((offsets,), np.arange(n_labels)), **rest)

    def extra_repr(self) -> str:
        """Returns the part of repr(head) inside the parentheses."""
        return f"n_groups={self.n_groups}, n_labels={self.n_labels}, dim={self.dim}, candidates={self.candidates}"
