"""A classifier over label clusters beside a head, which gives the encoder gradients early on and then fades."""

from __future__ import annotations

import math
from typing import Any, Self

import torch
from torch import Tensor

from megalabel.errors import SettingError
from megalabel.heads.base import Head
from megalabel.heads.dense import DenseHead
from megalabel.heads.nested import built, described
from megalabel.heads.wrappers.base import Wrapper
from megalabel.types import Positives


class WithAuxiliary(Wrapper):
    """Trains with (1 - s) · loss of the head + s · loss over clusters, s fading to 0 (Spartex, NeurIPS 2024).

    A sparse output layer gives an untrained encoder poor gradients. So a dense linear classifier over a few
    thousand clusters of labels reads the same view (of several views, the last), and a text's clusters are those
    of its labels. Its loss is binary cross-entropy, the **mean** over texts and clusters; micro-batches each have
    their own mean, and these are summed. The two losses are mixed as they are: beside a head whose loss is a *sum*
    over labels the clusters' hardly counts, so that a share belongs to a reduction.

    s falls along half a cosine from `share` at step 0 to 0 at step `until`. From then on the loss is the head's
    alone, and the classifier costs nothing and has no gradient. Steps are counted by `after_step`, the count is
    saved. Only the head answers, and a saved model holds only the head (`served`).

    The classifier `auxiliary` wants an optimiser of its own; those that act in the backward, or by row, are given
    the wrapper and find the head.

    Args:
        head: what is wrapped, of any number of views.
        clusters: (L,) integers, the cluster of each label, 0 to C - 1.
        share: s at the first step, from 0 to below 1; at 0 there is no classifier to train.
        until: the step from which the head is alone, 1 or more (Spartex: 8 to 15 epochs of 50 to 110).
        generator: where the classifier's first weights are drawn from; None for torch's own.

    Raises:
        SettingError: an argument out of range, clusters that are not of these labels, a cluster without labels.
    """

    def __init__(
        self,
        head: Head,
        clusters: Tensor,
        *,
        share: float,
        until: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(head)
        for name, value, wanted, fits in (
            ("share", share, "from 0 to below 1", 0 <= share < 1),
            ("until", until, "a step, 1 or more", until >= 1 and until % 1 == 0),
        ):
            if not fits:
                raise SettingError(f"{name} = {value}", wanted=wanted, next_step="correct it", where=name)
        n_clusters = _checked(clusters, head.n_labels)
        self.share, self.until = float(share), int(until)
        self.auxiliary = DenseHead(
            n_clusters,
            head.dim,
            bias=True,
            reduction="mean",
            init_std=(3 * head.dim) ** -0.5,  # of a uniform distribution within 1/√D, torch's for a linear layer
            # Where the head's own value is not computed, there is no use for this one.
            loss_every=max(getattr(part, "loss_every", 1) for part in head.modules()),
            generator=generator,
        )
        self.register_buffer("clusters", clusters.detach().clone().long())
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        self._last: tuple[float, Tensor, Tensor | None] | None = None

    def share_at(self, step: int) -> float:
        """s at a step."""
        return self.share * 0.5 * (1 + math.cos(math.pi * step / self.until)) if step < self.until else 0.0

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The two losses, mixed: (B, V, D) to a scalar."""
        main = self.head.loss(views, positives)
        share = self.share_at(int(self.get_buffer("step")))
        told = main.detach() if self.averaged else main.detach() / max(len(views), 1)
        if share == 0:
            self._last = share, told, None
            return main
        clusters = Positives.of(positives.rows, self.get_buffer("clusters")[positives.labels])
        beside = self.auxiliary.loss(views[:, -1:], clusters)
        self._last = share, told, beside.detach()
        return (1 - share) * main + share * beside

    def after_step(self, step: int, optimizer: Any) -> None:
        """Counts the step, and does as the head."""
        self.head.after_step(step, optimizer)
        self.get_buffer("step").fill_(step + 1)

    def facts(self) -> dict[str, float]:
        """The head's, and of the last batch the share and both losses; the main one per text if it is a sum."""
        told, last = self.head.facts(), self._last
        if last is not None:
            share, main, beside = last
            told["auxiliary share"] = share
            if not main.isnan():
                told["main loss"] = float(main)
            if beside is not None and not beside.isnan():
                told["auxiliary loss"] = float(beside)
        return told

    def served(self) -> Head:
        """The head without the classifier."""
        return self.head.served()

    def settings(self) -> dict[str, Any]:
        """The head's, the number of clusters, and how the share fades."""
        return {
            "head": described(self.head),
            "clusters": self.auxiliary.n_labels,
            "share": self.share,
            "until": self.until,
        }

    @classmethod
    def from_settings(cls, settings: dict[str, Any]) -> Self:
        """Of the same shape; weights and clusters still to be loaded."""
        head = built(settings["head"])
        clusters = torch.arange(head.n_labels) * settings["clusters"] // head.n_labels
        return cls(head, clusters, share=settings["share"], until=settings["until"])

    def extra_repr(self) -> str:
        """What print(head) shows."""
        return f"share={self.share:g}, until={self.until}"


def _checked(clusters: Tensor, n_labels: int) -> int:
    """The number of clusters, C."""
    if clusters.shape != (n_labels,) or clusters.is_floating_point() or clusters.dtype == torch.bool:
        found = f"clusters {tuple(clusters.shape)}, {clusters.dtype}, for {n_labels:,} labels"
    elif int(clusters.min()) < 0:
        found = f"label {int(clusters.argmin())} is in cluster {int(clusters.min())}"
    elif int(clusters.max()) >= n_labels:
        found = f"label {int(clusters.argmax())} is in cluster {int(clusters.max())} of {n_labels:,} labels"
    else:
        sizes = torch.bincount(clusters)
        if int(sizes.min()) > 0:
            return len(sizes)
        found = f"cluster {int(sizes.argmin())} of {len(sizes):,} has no labels"
    raise SettingError(
        found,
        wanted=f"({n_labels},) integers from 0 up, with no number left out",
        next_step="take them from megalabel.labels.grouping.auxiliary_clusters",
        where="clusters",
    )
