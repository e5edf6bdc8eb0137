"""A classifier over label clusters beside a head, which gives the encoder gradients early on and then fades."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from megalabel.errors import SettingError
from megalabel.heads.abilities import UpdatesInBackward, having
from megalabel.heads.base import Head, OptimizerStates
from megalabel.heads.checks import check_arguments
from megalabel.heads.nested import built, described
from megalabel.heads.wrappers.base import Wrapper
from megalabel.kernels.all_labels.all_labels_loss import all_labels_loss
from megalabel.types import Positives


class WithAuxiliary(Wrapper):
    """Trains with (1 - s) · loss of the head + s · loss over clusters, s fading to 0 (Spartex, NeurIPS 2024).

    A sparse output layer gives an untrained encoder poor gradients. So a dense linear classifier over a few
    thousand clusters of labels reads the same view (of several views, the last), and a text's clusters are those
    of its labels. Its loss is binary cross-entropy, the **mean** over texts and clusters. The two losses are mixed
    as they are: beside a head whose loss is a *sum* over labels the clusters hardly count, so that a share belongs
    to a reduction; and beside such a head the means of several micro-batches are summed.

    s falls along half a cosine from `share` at step 0 to 0 at step `until`. From then on the loss is the head's
    alone, and the classifier costs nothing and has no gradient. `after_step` counts the steps; the count is saved.
    Only the head predicts, and `without_auxiliary` is what a saved model needs of it.

    The classifier `auxiliary` needs an optimizer of its own: one that acts in the backward pass, or by row, finds
    the head alone.

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
        check_arguments(
            ("share", share, "from 0 to below 1", 0 <= share < 1),
            ("until", until, "a step, 1 or more", until >= 1 and until % 1 == 0),
        )
        self.share, self.until = float(share), int(until)
        n_clusters = _checked(clusters, head.n_labels)
        self.auxiliary = ClusterClassifier(n_clusters, head.dim, generator=generator)
        self.register_buffer("clusters", clusters.detach().clone().long())
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        # Where the value of the head's loss is not computed, there is no use for this one's.
        self._loss_every = max((part.loss_every for part in having(head, UpdatesInBackward)), default=1)
        self._step = 0
        self._last: tuple[float, Tensor, Tensor | None] | None = None

    def share_at(self, step: int) -> float:
        """s at a step."""
        return self.share * 0.5 * (1 + math.cos(math.pi * step / self.until)) if step < self.until else 0.0

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The two losses, mixed: (B, V, D) to a scalar."""
        main = self.head.loss(views, positives)
        share = self.share_at(int(self.get_buffer("step")))
        logged = main.detach() if self.reduction == "mean" else main.detach() / max(len(views), 1)
        if share == 0:
            self._last = share, logged, None
            return main
        clusters = Positives.from_pairs(positives.rows, self.get_buffer("clusters")[positives.labels])
        beside = self.auxiliary.loss(views[:, -1], clusters, value=self._step % self._loss_every == 0)
        self._last = share, logged, beside.detach()
        return (1 - share) * main + share * beside

    def after_step(self, step: int, optimizers: OptimizerStates | None) -> None:
        """Counts the step, for the share."""
        super().after_step(step, optimizers)
        self._step = step + 1
        self.get_buffer("step").fill_(step + 1)

    def metrics(self) -> dict[str, float]:
        """Those of the head, and of the last batch the share and both losses; the main one per text if a sum."""
        found, last = super().metrics(), self._last
        if last is not None:
            share, main, beside = last
            found["auxiliary share"] = share
            if not main.isnan():
                found["main loss"] = float(main)
            if beside is not None and not beside.isnan():
                found["auxiliary loss"] = float(beside)
        return found

    def config(self) -> dict[str, Any]:
        """The head, the number of clusters, and how the share fades."""
        return {
            "head": described(self.head),
            "clusters": self.auxiliary.n_labels,
            "share": self.share,
            "until": self.until,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """A head of the same shape, its weights and clusters still to be loaded."""
        head = built(config["head"], folder)
        clusters = torch.arange(head.n_labels) * config["clusters"] // head.n_labels
        return cls(head, clusters, share=config["share"], until=config["until"])

    def extra_repr(self) -> str:
        """What print(head) shows."""
        return f"share={self.share:g}, until={self.until}"


class ClusterClassifier(nn.Module):
    """A dense linear classifier, trained by gradients and dropped after training.

    It is no head: an optimizer of the head must not take it along.

    Args:
        n_clusters: C.
        dim: D, the width of a view.
        generator: where initial weights are drawn from; None for torch's own.
    """

    def __init__(self, n_clusters: int, dim: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.n_labels, self.dim = n_clusters, dim
        spread = (3 * dim) ** -0.5  # of a uniform distribution within 1/√D, torch's for a linear layer
        self.weight = nn.Parameter(torch.empty(n_clusters, dim).normal_(0, spread, generator=generator))
        self.bias = nn.Parameter(torch.zeros(n_clusters))

    def loss(self, x: Tensor, positives: Positives, *, value: bool = True) -> Tensor:
        """Binary cross-entropy, the mean over texts and clusters: (B, D) to a scalar.

        value: whether its value is wanted; if not it is NaN, and trains all the same.
        """
        device, dtype = x.device.type, None
        if device == "cuda" and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        training = self.training and torch.is_grad_enabled()
        with torch.autocast(device, enabled=False):
            return all_labels_loss(
                x,
                self.weight,
                self.bias,
                positives,
                scale=1 / max(len(x) * self.n_labels, 1),
                value=value or not training,
                compute_dtype=dtype,
            )


def without_auxiliary(head: Head) -> Head:
    """The head inside of a `WithAuxiliary`, any other head itself: `Recipe.inference_head` of such a recipe."""
    return head.head if isinstance(head, WithAuxiliary) else head


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
