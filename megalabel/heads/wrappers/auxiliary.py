"""A classifier over label clusters beside a head, which gives the encoder gradients in early epochs."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from megalabel.distributed.collectives import sum_of_all
from megalabel.distributed.own_texts import n_texts_of, own_positives
from megalabel.errors import SettingError
from megalabel.heads.abilities import OwnLabels, UpdatesInBackward, having
from megalabel.heads.base import Head, OptimizerStates
from megalabel.heads.checks import check_arguments
from megalabel.heads.nested import built, described
from megalabel.heads.wrappers.base import Wrapper
from megalabel.kernels.all_labels.all_labels_loss import all_labels_loss
from megalabel.types import Positives


class WithAuxiliary(Wrapper):
    """Trains with (1 - s) · loss of the head + s · loss over clusters, s decaying to 0 (Spartex, NeurIPS 2024).

    A sparse output layer gives an untrained encoder poor gradients. So a dense linear classifier over a few
    thousand clusters of labels reads the same view (the last, if there are several); the clusters of a text are
    those of its labels. Its loss is binary cross-entropy, the **mean** over texts and clusters. The two losses are
    not rescaled: beside a head whose loss is a *sum* over labels the clusters hardly contribute, so `loss_weight`
    must suit the reduction, and the means of several micro-batches are summed.

    s decays along half a cosine from `loss_weight` at step 0 to 0 at step `until`. From then on the loss is that
    of the head, and the classifier costs nothing and gets no gradient. `after_step` counts the steps; the count is
    saved. Predictions are those of the head, and `without_auxiliary` returns the part that a saved model needs.

    The classifier `auxiliary` needs an optimizer of its own, since optimizers that act in the backward pass or per
    row only train the head.

    Args:
        head: the head to wrap, with any number of views.
        clusters: (L,) integers, the cluster of each label, 0 to C - 1.
        loss_weight: s at step 0, from 0 to below 1; with 0 there is no classifier to train.
        until: the step from which on the head is trained alone, 1 or more (Spartex: 8 to 15 epochs of 50 to 110).
        generator: random generator of the classifier's initial weights; None for torch's default.

    Raises:
        SettingError: an argument is out of range, or clusters do not fit the labels, or a cluster has no labels.
    """

    uses_weights = True

    def __init__(
        self,
        head: Head,
        clusters: Tensor,
        *,
        loss_weight: float,
        until: int,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__(head)
        check_arguments(
            ("loss_weight", loss_weight, "from 0 to below 1", 0 <= loss_weight < 1),
            ("until", until, "a step, 1 or more", until >= 1 and until % 1 == 0),
        )
        self.loss_weight, self.until = float(loss_weight), int(until)
        n_clusters = _checked(clusters, head.n_labels)
        self.auxiliary = ClusterClassifier(n_clusters, head.dim, generator=generator)
        self.register_buffer("clusters", clusters.detach().clone().long())
        self.register_buffer("step", torch.zeros((), dtype=torch.int64))
        # The value of this loss is computed only in the steps in which that of the head is.
        self._loss_every = max((part.loss_every for part in having(head, UpdatesInBackward)), default=1)
        self._step = 0
        self._last: tuple[float, Tensor, Tensor | None] | None = None
        # The clusters are classified by every process for its own texts, as the encoder is.
        self._parallel: tuple[OwnLabels, ...] = tuple(having(head, OwnLabels)[:1])

    def weight_at(self, step: int) -> float:
        """s at a step."""
        return self.loss_weight * 0.5 * (1 + math.cos(math.pi * step / self.until)) if step < self.until else 0.0

    @property
    def faded(self) -> bool:
        """Whether the classifier is no longer trained."""
        return self.weight_at(int(self.get_buffer("step"))) == 0

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """The weighted sum of the two losses: (B, V, D) to a scalar."""
        main = self.head.loss(views, positives)
        n_texts, fraction = len(views), 1.0
        for parallel in self._parallel:
            n_texts = n_texts_of(positives)
            positives, fraction = own_positives(positives, parallel.world)
        weight = self.weight_at(int(self.get_buffer("step")))
        logged = main.detach() if self.reduction == "mean" else main.detach() / max(n_texts, 1)
        if weight == 0:
            self._last = weight, logged, None
            return main
        clusters = positives.with_pairs(positives.rows, self.get_buffer("clusters")[positives.labels])
        auxiliary = self.auxiliary.loss(views[:, -1], clusters, value=self._step % self._loss_every == 0)
        if fraction != 1.0:
            auxiliary = auxiliary * fraction
        self._last = weight, logged, auxiliary.detach()
        return (1 - weight) * main + weight * auxiliary

    def after_step(self, step: int, optimizers: OptimizerStates | None) -> None:
        """Counts the step, on which the weight depends."""
        super().after_step(step, optimizers)
        self._step = step + 1
        self.get_buffer("step").fill_(step + 1)

    def metrics(self) -> dict[str, float]:
        """Those of the head, and of the last batch the weight and both losses; a summed main loss is per text."""
        found, last = super().metrics(), self._last
        if last is not None:
            weight, main, auxiliary = last
            for parallel in self._parallel:
                world, traffic = parallel.world, parallel.traffic
                main = sum_of_all(main.double().cpu(), world, traffic)
                if auxiliary is not None:
                    auxiliary = sum_of_all(auxiliary.double().cpu(), world, traffic)
            found["auxiliary weight"] = weight
            if not main.isnan():
                found["main loss"] = float(main)
            if auxiliary is not None and not auxiliary.isnan():
                found["auxiliary loss"] = float(auxiliary)
        return found

    def config(self) -> dict[str, Any]:
        """The head, the number of clusters, and how the weight decays."""
        return {
            "head": described(self.head),
            "clusters": self.auxiliary.n_labels,
            "loss_weight": self.loss_weight,
            "until": self.until,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], folder: Path | None = None) -> Self:
        """Makes a head of the same shape; its weights and clusters are still to be loaded."""
        head = built(config["head"], folder)
        clusters = torch.arange(head.n_labels) * config["clusters"] // head.n_labels
        return cls(head, clusters, loss_weight=config["loss_weight"], until=config["until"])

    def extra_repr(self) -> str:
        """Returns the part of repr(head) inside the parentheses."""
        return f"loss_weight={self.loss_weight:g}, until={self.until}"


class ClusterClassifier(nn.Module):
    """A dense linear classifier that is trained by ordinary gradients and dropped after training.

    It is not a `Head`, so that the optimizers of the wrapped head do not train it.

    Args:
        n_clusters: C.
        dim: D, the width of a view.
        generator: random generator of the initial weights; None for torch's default.
    """

    def __init__(self, n_clusters: int, dim: int, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.n_labels, self.dim = n_clusters, dim
        std = (3 * dim) ** -0.5  # that of a uniform distribution in ±1/√D, as in nn.Linear
        self.weight = nn.Parameter(torch.empty(n_clusters, dim).normal_(0, std, generator=generator))
        self.bias = nn.Parameter(torch.zeros(n_clusters))

    def loss(self, x: Tensor, positives: Positives, *, value: bool = True) -> Tensor:
        """Binary cross-entropy, the mean over texts and clusters: (B, D) to a scalar.

        With `value` False the value is not computed and is NaN; the gradients are the same.
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
    """The head inside a `WithAuxiliary`, or any other head itself, for `Recipe.inference_head`."""
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
        wanted=f"({n_labels},) integers from 0 without gaps",
        next_step="take them from megalabel.labels.grouping.auxiliary_clusters",
        where="clusters",
    )
