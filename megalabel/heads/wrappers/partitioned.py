"""Labels divided among several heads, such as the frequent ones in a dense head and the rest in a sparse one."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.heads.abilities import LabelPrior
from megalabel.heads.base import Head, TrainingEmbeddings, topk_by_rows
from megalabel.heads.checks import check_labels, check_permutation
from megalabel.heads.nested import built, described
from megalabel.kernels.core.memo import memo_on
from megalabel.kernels.sparse.merge_topk import best_of
from megalabel.types import Positives, TopK


class PartitionedHead(LabelPrior, Head):
    """Assigns the first labels of an order to the first head, the next ones to the second, and so on.

    So neighbors in a sparse head, which may share their inputs, can be neighbors in a label tree, and the most
    frequent labels can have a dense head of their own (HASTE, ICML 2026). With a single part the labels are only
    reordered.

    The loss is that over all labels: losses of parts that are sums are added; those that are means over texts and
    labels are weighted by the fraction of the labels, so that the result is the mean over all labels.

    Memory: 8 bytes per label, and 16 more from the first prediction on.

    Args:
        parts: heads that read the same views and together have L labels.
        order: (L,) int64, a permutation of 0 to L - 1: row r of a part that begins at position p belongs to label
            order[p + r].

    Raises:
        SettingError: there are no parts, parts do not match each other, some losses are sums and some means, or
            the order is not a permutation of the labels.
    """

    uses_weights = True

    def __init__(self, parts: Sequence[Head], order: Tensor) -> None:
        super().__init__()
        _check_parts(parts)
        self.parts = nn.ModuleList(parts)
        first = parts[0]
        self.dim, self.n_views = first.dim, first.n_views
        self.reduction, self.score_type = first.reduction, first.score_type
        self.loss_name = first.loss_name if len({part.loss_name for part in parts}) == 1 else "mixed"
        self.n_labels = sum(part.n_labels for part in parts)
        self.starts = [0, *accumulate(part.n_labels for part in parts)]
        self.register_buffer("label_to_row", _label_to_row(order, self.n_labels))

    @property
    def heads(self) -> list[Head]:
        """The parts."""
        return [part for part in self.parts if isinstance(part, Head)]

    @property
    def order(self) -> Tensor:
        """(L,) int64, the label of each row over all parts; each access makes a new tensor."""
        return self.get_buffer("label_to_row").argsort()

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The loss over all labels: (B, V, D) to a scalar."""
        self.check_views(views)
        total = views.new_zeros(())
        for part, pairs in zip(self.heads, self._split(positives), strict=True):
            share = part.n_labels / self.n_labels if self.reduction == "mean" else 1.0
            total = total + share * part.loss(views, pairs)
        return total

    @torch.no_grad()
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best of the best labels of the parts: (B, V, D) to ids and scores (B, k)."""
        self.check_views(views)
        return topk_by_rows(lambda hidden: self._topk(views, k, hidden), k, exclude, row_to_label)

    def _topk(self, views: Tensor, k: int, exclude: Positives | None) -> TopK:
        ids, scores = [], []
        excluded = self._split(exclude) if exclude is not None else [None] * len(self.parts)
        for part, pairs, (rank, sorted_labels) in zip(self.heads, excluded, self._sorted_labels(), strict=True):
            hidden = (
                Positives.from_pairs(pairs.rows, rank[pairs.labels]) if pairs is not None and len(pairs) else None
            )
            found = part.topk(views, k, exclude=hidden, row_to_label=rank)
            ids.append(torch.where(found.ids < 0, -1, sorted_labels[found.ids]))
            scores.append(found.scores)
        return best_of(torch.cat(ids, dim=1), torch.cat(scores, dim=1), k)

    def _split(self, pairs: Positives) -> list[Positives]:
        """The pairs of each part, with rows of the part as labels."""
        check_labels(pairs, self.n_labels)
        rows = self.get_buffer("label_to_row")[pairs.labels]
        parts = []
        for start, stop in pairwise(self.starts):
            inside = (rows >= start) & (rows < stop)
            parts.append(pairs.with_pairs(pairs.rows[inside], rows[inside] - start))
        return parts

    def rows_in_parts(self, labels: Tensor) -> list[Tensor]:
        """The rows of some labels in each part, ascending: (C,) int64, together as many as there are labels."""
        rows = self.get_buffer("label_to_row").cpu()[labels].sort().values
        ends = torch.searchsorted(rows, torch.tensor(self.starts)).tolist()
        return [rows[a:b] - start for (a, b), start in zip(pairwise(ends), self.starts, strict=False)]

    def _sorted_labels(self) -> list[tuple[Tensor, Tensor]]:
        """For each part, the rank of each row's label among the labels of the part, and these labels, ascending.

        A part ranks its rows under these ranks, so that ties go to the lower label.
        """
        return memo_on([self.get_buffer("label_to_row")], "ranks", self._ranks, key=tuple(self.starts))

    def _ranks(self) -> list[tuple[Tensor, Tensor]]:
        order, found = self.order, []
        for start, stop in pairwise(self.starts):
            sorted_labels, rows = order[start:stop].sort()
            found.append((rows.argsort(), sorted_labels))
        return found

    def init_prior(self, label_counts: Tensor, n_texts: int) -> None:
        """Initializes the biases of all parts from (L,) counts among `n_texts` training texts.

        Raises:
            SettingError: a part does not support it, or the counts do not fit these labels and texts.
        """
        counts = torch.as_tensor(label_counts)
        if counts.shape != (self.n_labels,):
            raise SettingError(
                f"label counts of shape {tuple(counts.shape)}",
                wanted=f"({self.n_labels},), the number of training texts of each label",
                where="label_counts",
            )
        order = self.order.to(counts.device)
        for part, (start, stop) in zip(self.heads, pairwise(self.starts), strict=True):
            if not isinstance(part, LabelPrior):
                raise SettingError(
                    f"a {type(part).__name__}, which has no init_prior",
                    wanted="parts with init_prior, such as DenseHead and SparseHead",
                    next_step="do without init_prior",
                )
            part.init_prior(counts[order[start:stop]], n_texts)

    def refresh(self, embeddings: TrainingEmbeddings) -> None:
        """Refreshes each part with its own labels."""
        for i, part in enumerate(self.heads):
            part.refresh(functools.partial(self._embeddings_of, i, embeddings))

    def _embeddings_of(self, i: int, embeddings: TrainingEmbeddings) -> tuple[Tensor, Positives]:
        views, positives = embeddings()
        return views, self._split(positives.to(self.get_buffer("label_to_row").device))[i]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Checks that the stored order is a permutation, since predictions would have wrong labels otherwise."""
        found = state_dict.get(f"{prefix}label_to_row")
        if found is not None:
            _label_to_row(found, self.n_labels)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def check_state(self) -> None:
        """Refuses an order that does not hold each label once, here and in the parts."""
        check_permutation(self.get_buffer("label_to_row"), self.n_labels, "label_to_row")
        super().check_state()

    def config(self) -> dict[str, Any]:
        """The parts; the order is stored among the tensors."""
        return {"parts": [described(part) for part in self.heads]}

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Makes a head of the same shape; its weights and order are still to be loaded."""
        parts = [built(part, folder) for part in config["parts"]]
        for part in parts:  # configs hold shapes; the reduction only matters in training
            part.reduction = parts[0].reduction
        return cls(parts, torch.arange(sum(part.n_labels for part in parts)))


def _check_parts(parts: Sequence[Head]) -> None:
    if not parts:
        raise SettingError("no heads", wanted="at least one part", where="parts")
    for part in parts:
        for name, value, wanted in (
            ("views", part.n_views, parts[0].n_views),
            ("width", part.dim, parts[0].dim),
            ("loss", *(f"a {p.reduction}" for p in (part, parts[0]))),
        ):
            if value != wanted:
                raise SettingError(
                    f"a part with {name} {value} beside one with {name} {wanted}",
                    wanted="parts with the same views and reduction",
                    next_step="make them with the same dim and reduction",
                    where="parts",
                )


def _label_to_row(order: Tensor, n_labels: int) -> Tensor:
    """The inverse of an order: the row of each label, (L,) int64."""
    if order.shape == (n_labels,) and order.dtype == torch.int64:
        rows = order.argsort()
        if torch.equal(order[rows], torch.arange(n_labels, device=order.device)):
            return rows
    raise SettingError(
        f"an order of shape {tuple(order.shape)} and {order.dtype} that is not a permutation of the labels",
        wanted=f"({n_labels},) int64, a permutation of 0 to {n_labels - 1}",
        next_step="use a function of megalabel.labels.grouping",
        where="order",
    )
