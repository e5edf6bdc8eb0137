"""Labels dealt out to several heads: in a tree's order, by frequency, the frequent ones to a head of their own."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from itertools import accumulate, pairwise
from typing import Any, Self

import torch
from torch import Tensor, nn

from megalabel.errors import DataError, SettingError
from megalabel.heads.base import Embedded, Head
from megalabel.heads.nested import built, check_inside, described
from megalabel.kernels.core.memo import memo_on
from megalabel.kernels.sparse.merge_topk import best_of
from megalabel.types import Positives, TopK


class Dealt(Head):
    """The first labels of an order belong to the first head, the next to the second, and so on.

    So neighbours in a sparse head, which may share their inputs, can be neighbours in a label tree; and the most
    frequent labels can have a dense head of their own (HASTE, ICML 2026). One part alone only puts its labels in
    order.

    The loss is the one over all labels together: parts whose loss is a sum are summed, parts whose loss is a mean
    over texts and labels count by their share of the labels, so that it is the mean over all.

    Memory: 8 bytes a label, and from the first prediction on 16 more.

    Args:
        parts: heads that read the same views and together have L labels.
        order: (L,) int64, a permutation of 0 to L - 1: row r of a part that begins at place p is label
            order[p + r].

    Raises:
        SettingError: no parts; parts that do not fit each other, or that mix sums and means; an order that is not
            of their labels.
    """

    def __init__(self, parts: Sequence[Head], order: Tensor) -> None:
        super().__init__()
        _check_parts(parts)
        self.parts = nn.ModuleList(parts)
        first = parts[0]
        self.dim, self.n_views, self.averaged = first.dim, first.n_views, first.averaged
        self.gives = first.gives
        self.n_labels = sum(part.n_labels for part in parts)
        self.starts = [0, *accumulate(part.n_labels for part in parts)]
        self.register_buffer("place", _places(order, self.n_labels))

    @property
    def heads(self) -> list[Head]:
        """The parts."""
        return [part for part in self.parts if isinstance(part, Head)]

    @property
    def order(self) -> Tensor:
        """(L,) int64, the label of each place; a new tensor each time."""
        return self.get_buffer("place").argsort()

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The loss over all labels: (B, V, D) to a scalar."""
        self.check_views(views)
        total = views.new_zeros(())
        for part, (rows, places) in zip(self.heads, self._split(positives), strict=True):
            share = part.n_labels / self.n_labels if self.averaged else 1.0
            total = total + share * part.loss(views, Positives.of(rows, places))
        return total

    @torch.no_grad()
    def topk(self, views: Tensor, k: int, exclude: Positives | None = None) -> TopK:
        """The k best of what the parts find best: (B, V, D) to labels and scores (B, k)."""
        self.check_views(views)
        labels, scores = [], []
        excluded = self._split(exclude) if exclude is not None else [(None, None)] * len(self.parts)
        for part, (rows, places), (names, sorted_labels) in zip(self.heads, excluded, self._names(), strict=True):
            never = None
            if rows is not None and places is not None and len(rows):
                never = Positives.of(rows, names[places])
            found = part.topk_named(views, k, never, names)
            labels.append(torch.where(found.labels < 0, -1, sorted_labels[found.labels]))
            scores.append(found.scores)
        return best_of(torch.cat(labels, dim=1), torch.cat(scores, dim=1), k)

    def _split(self, pairs: Positives) -> list[tuple[Tensor, Tensor]]:
        """For each part the rows of its pairs, and their places within the part."""
        if len(pairs) and not 0 <= int(pairs.labels.min()) <= int(pairs.labels.max()) < self.n_labels:
            raise DataError(
                f"pairs with labels {int(pairs.labels.min())} to {int(pairs.labels.max())}",
                wanted=f"labels from 0 to {self.n_labels - 1}",
                next_step="check that the data and the head have the same labels",
            )
        places = self.get_buffer("place")[pairs.labels]
        parts = []
        for start, stop in pairwise(self.starts):
            inside = (places >= start) & (places < stop)
            parts.append((pairs.rows[inside], places[inside] - start))
        return parts

    def _names(self) -> list[tuple[Tensor, Tensor]]:
        """For each part, the rank of each row's label among the part's labels, and these labels, rising.

        A part names its rows by rank, since ties go to the lower rank just as to the lower label.
        """
        return memo_on([self.get_buffer("place")], "ranks", self._ranks, key=tuple(self.starts))

    def _ranks(self) -> list[tuple[Tensor, Tensor]]:
        order, found = self.order, []
        for start, stop in pairwise(self.starts):
            sorted_labels, rows = order[start:stop].sort()
            found.append((rows.argsort(), sorted_labels))
        return found

    def after_step(self, step: int, optimizer: Any) -> None:
        """The parts'."""
        for part in self.heads:
            part.after_step(step, optimizer)

    def updating(self) -> list[Head]:
        """The parts'."""
        return [head for part in self.heads for head in part.updating()]

    def facts(self) -> dict[str, float]:
        """The parts'; what several of them tell is followed by the number of the part, from 0."""
        told = [part.facts() for part in self.heads]
        names = [name for facts in told for name in facts]
        return {
            name if names.count(name) == 1 else f"{name} of part {i}": value
            for i, facts in enumerate(told)
            for name, value in facts.items()
        }

    def init_prior(self, label_counts: Tensor, n_texts: int) -> None:
        """Begins each part's bias at the labels' frequencies: (L,) counts among `n_texts` training texts.

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
            begin = getattr(part, "init_prior", None)
            if begin is None:
                raise SettingError(
                    f"a {type(part).__name__} has no prior",
                    wanted="parts with init_prior",
                    next_step="leave the prior out",
                )
            begin(counts[order[start:stop]], n_texts)

    def prepare(self, embedded: Embedded) -> None:
        """Each part's, with its own labels."""
        for i, part in enumerate(self.heads):
            part.prepare(functools.partial(self._embedded_of, i, embedded))

    def _embedded_of(self, i: int, embedded: Embedded) -> tuple[Tensor, Positives]:
        views, positives = embedded()
        return views, Positives.of(*self._split(positives.to(self.get_buffer("place").device))[i])

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *rest: Any) -> None:
        """Refuses places that are not one for each label: answers would name wrong labels."""
        found = state_dict.get(f"{prefix}place")
        if found is not None:
            _places(found, self.n_labels)
        super()._load_from_state_dict(state_dict, prefix, *rest)

    def settings(self) -> dict[str, Any]:
        """The parts'; the order is among the tensors."""
        return {"parts": [described(part) for part in self.heads]}

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """Of the same shape; weights and order still to be loaded."""
        parts = [built(part) for part in settings["parts"]]
        for part in parts:  # settings are of shapes; whether losses were sums or means was training's own
            part.averaged = parts[0].averaged
        return cls(parts, torch.arange(sum(part.n_labels for part in parts)))


def _check_parts(parts: Sequence[Head]) -> None:
    if not parts:
        raise SettingError("no heads", wanted="one part or more", next_step="give the heads", where="parts")
    for part in parts:
        check_inside(part)
        for name, value, wanted in (
            ("views", part.n_views, parts[0].n_views),
            ("width", part.dim, parts[0].dim),
            ("loss", *("a mean" if p.averaged else "a sum" for p in (part, parts[0]))),
        ):
            if value != wanted:
                raise SettingError(
                    f"a part with {name} {value} beside one with {name} {wanted}",
                    wanted="parts that read the same views, and losses that are all sums or all means",
                    next_step="make them with the same dim and reduction",
                    where="parts",
                )


def _places(order: Tensor, n_labels: int) -> Tensor:
    """The place of each label, (L,) int64."""
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
