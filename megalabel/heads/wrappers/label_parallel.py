"""`LabelParallel`: a head over all labels of which each process of a job holds its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from megalabel.distributed.collectives import Traffic, gather_rows, reduce_scatter_rows, sum_of_all
from megalabel.distributed.merged_topk import merged_topk
from megalabel.distributed.own_texts import n_texts_of, shares
from megalabel.distributed.shards import LabelShards
from megalabel.distributed.world import World
from megalabel.errors import SettingError
from megalabel.heads.abilities import LabelPrior, OwnLabels
from megalabel.heads.base import Head, TrainingEmbeddings
from megalabel.heads.replaced import Replaced
from megalabel.heads.stored_table import StoredTable
from megalabel.heads.wrappers.base import Wrapper
from megalabel.types import Positives, TopK


class LabelParallel(OwnLabels, LabelPrior, Wrapper):
    """Scores every label with the labels divided among the processes of a job (Renée, MLSys 2023, section 4.4).

    Each process encodes its own texts of a batch. Here the views of all texts are gathered, and each process
    computes the loss of all texts over its own labels, and moves their weights. The gradients of the views are
    summed over the processes, each of which receives those of its own texts. The labels of all texts are known to
    every process, since the batches are.

    The loss is this process's part of the loss over all labels: the sum over all processes is the loss of one
    process with the same batch, whether it is a sum or a mean. Its weights have the gradients, initial values and
    random numbers that they have in one process. The order in which the gradient of a view is summed over labels
    differs; it does not depend on the run.

    Memory: 1/W of the head's, and 2·B·V·D numbers for the views of all texts and their gradients. A process sends
    2·B·V·D·(W - 1)/W numbers per step, and B·k scores and ids to each other process in a prediction.

    Args:
        head: the head of this process's labels, made with `part`; it may have none.
        shards: the labels of each process.
        world: the processes.
        traffic: counts the bytes that are sent; None for a count of its own.

    Raises:
        SettingError: the head does not hold the labels that `shards` gives to this process.
    """

    def __init__(self, head: Head, shards: LabelShards, world: World, traffic: Traffic | None = None) -> None:
        super().__init__(head)
        self.own = shards.range(world.rank)
        held = range(head.first_label, head.first_label + head.n_labels) if isinstance(head, StoredTable) else None
        if not isinstance(head, StoredTable) or held != self.own or head.all_labels != shards.n_labels:
            raise SettingError(
                f"a {type(head).__name__} of {'no known' if held is None else held} labels",
                wanted=f"a DenseHead or SparseHead of the labels {self.own} of {shards.n_labels:,}",
                next_step=f"make it with part={self.own}",
                where="head",
            )
        self.shards, self.world, self.n_labels = shards, world, shards.n_labels
        self.traffic = Traffic() if traffic is None else traffic
        if isinstance(head, Replaced):
            head.sums = self.sum

    @property
    def holder(self) -> Head:
        """The head of this process's labels."""
        return self.head

    def loss(self, views: Tensor, positives: Positives) -> Tensor:
        """This process's part of the loss of a batch over all labels.

        Args:
            views: (b, V, D), of this process's own texts: its share of the batch (`own_texts.shares`).
            positives: of all texts of the batch, with `texts` (B,).
        """
        self.check_views(views)
        sizes = shares(n_texts_of(positives), self.world.size)
        everyone: Tensor = _Gathered.apply(views, sizes, self)  # type: ignore[no-untyped-call]
        if not self.own:
            nothing: Tensor = _Nothing.apply(everyone)  # type: ignore[no-untyped-call]
            return nothing
        labels = positives.labels
        inside = (labels >= self.own.start) & (labels < self.own.stop)
        rows, labels = positives.rows[inside], labels[inside] - self.own.start
        return self.head.loss(everyone, Positives(rows, labels, positives.texts, positives.weights))

    @torch.no_grad()
    def topk(
        self, views: Tensor, k: int, *, exclude: Positives | None = None, row_to_label: Tensor | None = None
    ) -> TopK:
        """The k best of all labels, in every process: views (B, V, D) of the same texts in every process."""
        self.check_views(views)
        if row_to_label is None:
            found = self._best(views, k, self._local(exclude), None)
            return merged_topk(found, self.own.start, k, self.world, self.traffic)
        here = row_to_label[self.own.start : self.own.stop]
        labels, rows = here.sort()
        rank = rows.argsort()
        hidden = None
        if exclude is not None and self.own:
            at = torch.searchsorted(labels, exclude.labels).clamp(max=len(labels) - 1)
            inside = labels[at] == exclude.labels
            hidden = Positives.from_pairs(exclude.rows[inside], at[inside])
        found = self._best(views, k, hidden, rank)
        ids = torch.where(found.ids < 0, -1, labels[found.ids.clamp(min=0)]) if self.own else found.ids
        return merged_topk(TopK(ids, found.scores), 0, k, self.world, self.traffic)

    def _best(self, views: Tensor, k: int, exclude: Positives | None, rank: Tensor | None) -> TopK:
        """The k best of this process's labels, by the ids that they have here."""
        if self.own:
            return self.head.topk(views, k, exclude=exclude, row_to_label=rank)
        nothing = views.new_zeros(len(views), 0)
        return TopK(nothing.to(torch.int64), nothing.float())

    def _local(self, pairs: Positives | None) -> Positives | None:
        """The pairs with this process's labels, counted from its first one."""
        if pairs is None:
            return None
        inside = (pairs.labels >= self.own.start) & (pairs.labels < self.own.stop)
        return Positives(pairs.rows[inside], pairs.labels[inside] - self.own.start)

    def sum(self, value: Tensor) -> Tensor:
        """The sum of a tensor over all processes, on the host."""
        return sum_of_all(value.cpu(), self.world, self.traffic)

    def refresh(self, embeddings: TrainingEmbeddings) -> None:
        """Refreshes the head with all texts and the pairs of its own labels."""

        def of_own() -> tuple[Tensor, Positives]:
            views, positives = embeddings()
            own = self._local(positives)
            assert own is not None
            return views, own

        self.head.refresh(of_own)

    @torch.no_grad()
    def init_prior(self, label_counts: Tensor, n_texts: int) -> None:
        """Initializes the biases of this process's labels from (L,) counts of all labels."""
        counts = torch.as_tensor(label_counts)
        if counts.shape != (self.n_labels,):
            raise SettingError(
                f"label counts of shape {tuple(counts.shape)}",
                wanted=f"({self.n_labels},), the number of training texts of each label",
                where="label_counts",
            )
        if self.own and isinstance(self.head, LabelPrior):
            self.head.init_prior(counts[self.own.start : self.own.stop], n_texts)

    def config(self) -> dict[str, Any]:
        """The config of the head of all labels, which a saved model has."""
        return {**self.head.config(), "n_labels": self.n_labels}

    def description(self) -> tuple[type[Head], dict[str, Any]]:
        """The class and the config of the head of all labels."""
        return type(self.head), self.config()


def over_processes(kind: Callable[..., Head], n_labels: int, dim: int, **arguments: Any) -> Head:
    """A head over L labels; in a job of several processes, a `LabelParallel` of this process's labels.

    Args:
        kind: `DenseHead` or `SparseHead`.
        n_labels: L.
        dim: D, the width of the embedding.
        arguments: further arguments of the head. Labels that share their inputs (`group`) stay together.
    """
    world = World.current()
    if world.size == 1:
        return kind(n_labels, dim, **arguments)
    group = arguments.get("group", 1)
    of_groups = LabelShards.even(-(-n_labels // group), world.size)
    shards = LabelShards(tuple(min(group * bound, n_labels) for bound in of_groups.bounds))
    return LabelParallel(kind(n_labels, dim, part=shards.range(world.rank), **arguments), shards, world)


class _Gathered(torch.autograd.Function):
    """The views of all processes; the backward pass sums the gradients over the processes."""

    @staticmethod
    def forward(ctx: Any, views: Tensor, sizes: list[int], head: LabelParallel) -> Tensor:
        ctx.sizes, ctx.head = sizes, head
        found = gather_rows(views, sizes, head.world, head.traffic)
        return found.clone() if found is views else found

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        head = ctx.head
        return reduce_scatter_rows(gradient, ctx.sizes, head.world, head.traffic).wait(), None, None


class _Nothing(torch.autograd.Function):
    """A loss of 0 over no labels, with zero gradients."""

    @staticmethod
    def forward(ctx: Any, views: Tensor) -> Tensor:
        ctx.save_for_backward(views)
        return views.new_zeros(())

    @staticmethod
    def backward(ctx: Any, upstream: Tensor) -> Tensor:
        (views,) = ctx.saved_tensors
        return torch.zeros_like(views)
