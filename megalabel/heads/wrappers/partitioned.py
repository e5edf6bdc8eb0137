"""Labels divided among several heads: in a tree's order, or the frequent ones in a head of their own."""

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
    """The first labels of an order belong to the first head, the next ones to the second, and so on.

    So neighbors in a sparse head, which may share their inputs, can be neighbors in a label tree; and the most
    frequent labels can have a dense head of their own (HASTE, ICML 2026). A single part only has its labels
    reordered.

    The loss is the one over all labels together: parts whose loss is a sum are summed, parts whose loss is a mean
    over texts and labels count by their fraction of the labels, so that the result is the mean over all.

    Memory: 8 bytes per label, and from the first prediction on 16 more.

    Args:
        parts: heads that read the same views and together have L labels.
        order: (L,) int64, a permutation of 0 to L - 1: row r of a part that begins at position p is label
            order[p + r].

    Raises:
        SettingError: no parts; parts that do not fit each other, or that mix sums and means; an order that is
            not one of their labels.
    """

    def __init__(self, parts: Sequence[Head], order: Tensor) -> None:
        super().__init__()
        _check_parts(parts)
        self.parts = nn.ModuleList(parts)
        first = parts[0]
        self.dim, self.n_views = first.dim, first.n_views
        self.reduction, self.score_type = first.reduction, first.score_type
        self.n_labels = sum(part.n_labels for part in parts)
        self.starts = [0, *accumulate(part.n_labels for part in parts)]
        self.register_buffer("place", _positions(order, self.n_labels))

    @property
    def heads(self) -> list[Head]:
        """The parts."""
        return [part for part in self.parts if isinstance(part, Head)]

    @property
    def order(self) -> Tensor:
        """(L,) int64, the label at each position; a new tensor each time."""
        return self.get_buffer("place").argsort()

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
        """The k best of what the parts rank best: (B, V, D) to ids and scores (B, k)."""
        self.check_views(views)
        return topk_by_rows(lambda hidden: self._topk(views, k, hidden), k, exclude, row_to_label)

    def _topk(self, views: Tensor, k: int, exclude: Positives | None) -> TopK:
        ids, scores = [], []
        excluded = self._split(exclude) if exclude is not None else [None] * len(self.parts)
        for part, pairs, (rank, sorted_labels) in zip(self.heads, excluded, self._sorted_labels(), strict=True):
            hidden = Positives.of(pairs.rows, rank[pairs.labels]) if pairs is not None and len(pairs) else None
            found = part.topk(views, k, exclude=hidden, row_to_label=rank)
            ids.append(torch.where(found.ids < 0, -1, sorted_labels[found.ids]))
            scores.append(found.scores)
        return best_of(torch.cat(ids, dim=1), torch.cat(scores, dim=1), k)

    def _split(self, pairs: Positives) -> list[Positives]:
        """The pairs of each part, with its own rows as labels."""
        check_labels(pairs, self.n_labels)
        position = self.get_buffer("place")[pairs.labels]
        parts = []
        for start, stop in pairwise(self.starts):
            inside = (position >= start) & (position < stop)
            parts.append(Positives.of(pairs.rows[inside], position[inside] - start, pairs.texts))
        return parts

    def _sorted_labels(self) -> list[tuple[Tensor, Tensor]]:
        """For each part, the rank of each row's label among the labels of the part, and these labels, rising.

        A part names its rows by rank, since ties go to the lower rank just as to the lower label.
        """
        return memo_on([self.get_buffer("place")], "ranks", self._ranks, key=tuple(self.starts))

    def _ranks(self) -> list[tuple[Tensor, Tensor]]:
        order, found = self.order, []
        for start, stop in pairwise(self.starts):
            sorted_labels, rows = order[start:stop].sort()
            found.append((rows.argsort(), sorted_labels))
        return found

    def init_prior(self, label_counts: Tensor, n_texts: int) -> None:
        """Starts the bias of each part at the labels' frequencies: (L,) counts among `n_texts` training texts.

        Raises:
            SettingError: a part that cannot, counts that are not of these labels and texts.
        """
        counts = torch.as_tensor(label_counts)
        if counts.shape != (self.n_labels,):
            raise SettingError(
                f"label counts of shape {tuple(counts.shape)}",
                wanted=f"one for each of {self.n_labels:,} labels",
                next_step="count each label's training texts",
                where="label_counts",
            )
        order = self.order.to(counts.device)
        for part, (start, stop) in zip(self.heads, pairwise(self.starts), strict=True):
            if not isinstance(part, LabelPrior):
                raise SettingError(
                    f"a {type(part).__name__}, whose bias cannot start at the labels' frequencies",
                    wanted="parts with init_prior, such as DenseHead and SparseHead",
                    next_step="leave the prior out",
                )
            part.init_prior(counts[order[start:stop]], n_texts)

    def refresh(self, embeddings: TrainingEmbeddings) -> None:
        """Refreshes each part, with its own labels."""
        for i, part in enumerate(self.heads):
            part.refresh(functools.partial(self._embeddings_of, i, embeddings))

    def _embeddings_of(self, i: int, embeddings: TrainingEmbeddings) -> tuple[Tensor, Positives]:
        views, positives = embeddings()
        return views, self._split(positives.to(self.get_buffer("place").device))[i]

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Refuses an order that does not hold each label once: answers would name wrong labels."""
        found = state_dict.get(f"{prefix}place")
        if found is not None:
            _positions(found, self.n_labels)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def check_state(self) -> None:
        """Refuses an order that does not hold each label once, here and in the parts."""
        check_permutation(self.get_buffer("place"), self.n_labels, "place")
        super().check_state()

    def config(self) -> dict[str, Any]:
        """The parts; the order is among the tensors."""
        return {"parts": [described(part) for part in self.heads]}

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """A head of the same shape, its weights and order still to be loaded."""
        parts = [built(part, folder) for part in config["parts"]]
        for part in parts:  # a config is of shapes; whether losses are sums or means matters in training alone
            part.reduction = parts[0].reduction
        return cls(parts, torch.arange(sum(part.n_labels for part in parts)))


def _check_parts(parts: Sequence[Head]) -> None:
    if not parts:
        raise SettingError("no heads", wanted="one part or more", next_step="give the heads", where="parts")
    for part in parts:
        for name, value, wanted in (
            ("views", part.n_views, parts[0].n_views),
            ("width", part.dim, parts[0].dim),
            ("loss", *(f"a {p.reduction}" for p in (part, parts[0]))),
        ):
            if value != wanted:
                raise SettingError(
                    f"a part with {name} {value} beside one with {name} {wanted}",
                    wanted="parts that read the same views, and losses that are all sums or all means",
                    next_step="make them with the same dim and reduction",
                    where="parts",
                )


def _positions(order: Tensor, n_labels: int) -> Tensor:
    """The position of each label, (L,) int64."""
    if order.shape == (n_labels,) and order.dtype == torch.int64:
        place = order.argsort()
        if torch.equal(order[place], torch.arange(n_labels, device=order.device)):
            return place
    raise SettingError(
        f"an order {tuple(order.shape)}, {order.dtype}, that is not each label of the parts once",
        wanted=f"({n_labels},) int64, a permutation of 0 to {n_labels - 1}",
        next_step="take one from megalabel.labels.grouping",
        where="order",
    )
