"""Trains heads over a few processes on random texts; run by `ranks.py`, and compared with one process."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from megalabel.distributed.collectives import Traffic
from megalabel.distributed.own_texts import RankBatches
from megalabel.distributed.shards import LabelShards
from megalabel.distributed.world import World
from megalabel.heads.abilities import having
from megalabel.heads.base import Head
from megalabel.heads.dense import DenseHead
from megalabel.heads.rewiring import Rewiring
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.auxiliary import WithAuxiliary
from megalabel.heads.wrappers.label_parallel import LabelParallel
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.heads.wrappers.whole_state import is_main, send, whole_state
from megalabel.inputs.batches import Batches
from megalabel.storage.tensors import Streamed
from megalabel.training.data_parallel import DataParallel
from megalabel.training.optim.fused import FusedAdagrad, FusedAdam, FusedSGD
from megalabel.training.optim.groups import Optimizers
from megalabel.training.step import Plain, StepContext
from megalabel.types import Batch

# The last batch of an epoch has one text, so that some processes have none.
N_TEXTS, N_LABELS, WORDS, DIM, BATCH, EPOCHS = 34, 53, 40, 24, 11, 3
BOUNDS = {1: (0, 53), 2: (0, 16, 53), 3: (0, 32, 32, 53), 4: (0, 16, 32, 48, 53)}  # a rank without labels among 3


class RandomRows:
    """Texts of 1 to 9 words with 0 to 4 labels, a function of the row."""

    max_length = 9

    def __init__(self) -> None:
        random = np.random.default_rng(5)
        self.words = [random.integers(WORDS, size=random.integers(1, 10)) for _ in range(N_TEXTS)]
        self.labels = [random.choice(N_LABELS, random.integers(0, 5), replace=False) for _ in range(N_TEXTS)]
        self.lengths = np.array([len(words) for words in self.words])

    def __len__(self) -> int:
        return N_TEXTS

    def tokens(self, rows: np.ndarray) -> list[np.ndarray]:
        return [self.words[row] for row in rows]

    def positives(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        found = [self.labels[row] for row in rows]
        return np.repeat(np.arange(len(rows)), [len(one) for one in found]), np.concatenate(found).astype(np.int64)


class MeanOfWords(nn.Module):
    """The mean of word vectors, then a layer; one parameter is never used."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.layer = nn.Embedding(WORDS, DIM), nn.Linear(DIM, DIM)
        self.unused = nn.Parameter(torch.ones(3))

    def views(self, batch: Batch) -> Tensor:
        words = self.table(batch.tokens) * batch.mask[..., None]
        return self.layer(words.sum(1) / batch.mask.sum(1, keepdim=True))[:, None]


def part_of(world: World, kind: type[Any], n_labels: int, bounds: tuple[int, ...], **arguments: Any) -> Head:
    if world.size == 1:
        return kind(n_labels, DIM, **arguments)
    shards = LabelShards(bounds)
    return LabelParallel(kind(n_labels, DIM, part=shards.range(world.rank), **arguments), shards, world)


def _dense(world: World) -> tuple[Head, dict[str, Any]]:
    head = part_of(world, DenseHead, N_LABELS, BOUNDS[world.size], bias=True)
    return head, {"head": FusedSGD(head, 0.01, 0.9, 0.01)}


def _dense_gradients(world: World) -> tuple[Head, dict[str, Any]]:
    head = part_of(world, DenseHead, N_LABELS, BOUNDS[world.size], reduction="mean")
    return head, {"head": torch.optim.SGD(head.parameters(), 20.0)}


def _narrow(world: World) -> tuple[Head, dict[str, Any]]:
    head = part_of(world, DenseHead, N_LABELS, BOUNDS[world.size], weights="float8")
    return head, {
        "head": FusedSGD(
            head, 0.02, 0.9, 0.01, momentum_dtype="bfloat16", compensated=torch.tensor([3, 20, 31, 52]), seed=2
        )
    }


def _sparse(world: World) -> tuple[Head, dict[str, Any]]:
    rewiring = Rewiring(2, 8, prune_threshold=0.1, seed=1)
    head = part_of(world, SparseHead, N_LABELS, BOUNDS[world.size], fan_in=6, rewiring=rewiring, seed=4)
    return head, {"head": FusedAdam(head, 0.02)}


def _sparse_fraction(world: World) -> tuple[Head, dict[str, Any]]:
    rewiring = Rewiring(3, 9, prune="fraction", regrow="gradient", regrow_init="uniform", seed=1)
    head = part_of(
        world, SparseHead, N_LABELS, BOUNDS[world.size], fan_in=6, group=16, loss="bce", rewiring=rewiring,
        weights="bfloat16",
    )  # fmt: skip
    return head, {"head": FusedAdagrad(head, 0.05, seed=3)}


def _wrapped(world: World) -> tuple[Head, dict[str, Any]]:
    frequent = part_of(world, DenseHead, 5, LabelShards.even(5, world.size).bounds, bias=True, reduction="mean")
    rest = part_of(world, SparseHead, 48, LabelShards.even(48, world.size).bounds, fan_in=6, loss="bce")
    for part in having(rest, SparseHead):
        part.reduction = "mean"
    rest.reduction = "mean"
    inside = WithProjection(PartitionedHead([frequent, rest], torch.arange(N_LABELS).flip(0)), DIM)
    head = WithAuxiliary(inside, torch.arange(N_LABELS) % 7, loss_weight=0.7, until=6)
    others = [*head.auxiliary.parameters(), *inside.linear.parameters()]
    return head, {"head": FusedSGD(head, 20.0), "others": torch.optim.SGD(others, 0.5)}


KINDS = {
    "dense": _dense, "dense, gradients": _dense_gradients, "dense, float8": _narrow, "sparse": _sparse,
    "sparse, fraction": _sparse_fraction, "wrapped": _wrapped,
}  # fmt: skip


def trained(world: World, accumulation_steps: int = 1) -> dict[str, Any]:
    """Each of `KINDS` after its training."""
    torch.set_num_threads(1)
    return {name: _trained(world, name, accumulation_steps) for name in KINDS}


def _trained(world: World, kind: str, accumulation_steps: int) -> dict[str, Any]:
    torch.manual_seed(7)
    encoder = MeanOfWords()
    head, of_head = KINDS[kind](world)
    optimizers = Optimizers(encoder=torch.optim.SGD(encoder.parameters(), 0.1), **of_head)
    batches, traffic, losses = Batches(RandomRows(), BATCH, EPOCHS, seed=3), Traffic(), []
    step = Plain()
    if world.size > 1:
        batches, step = RankBatches(batches, world, accumulation_steps), DataParallel(world, traffic)
    for part in having(head, LabelParallel):
        part.traffic = traffic
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    of_step: dict[str, int] = {}
    for batch in batches.from_step():
        context = StepContext(
            encoder, head, optimizers, scaler, torch.device("cpu"), contextlib.nullcontext, accumulation_steps,
            batch.step, True,
        )  # fmt: skip
        before = traffic.sent.copy()
        losses.append(step(batch, context))
        if len(batch) == BATCH and not of_step:
            of_step = dict(traffic.sent - before)
        optimizers.step(scaler, 0.0, head)
        head.after_step(batch.step, optimizers)
    metrics = head.metrics()
    views = encoder.views(Batches(RandomRows(), BATCH, 1).collate(np.arange(N_TEXTS), 0)).detach()
    top = head.eval().topk(views, 5)
    state = {}
    if is_main(head):
        for name, tensor in whole_state(head).items():
            whole = torch.cat(list(tensor.pieces())) if isinstance(tensor, Streamed) else tensor
            state[name] = whole.float() if whole.is_floating_point() else whole  # float8 cannot be pickled
    else:
        send(head)
    encoder_state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    return {
        "state": {**encoder_state, **state}, "losses": losses, "top": top, "sent": of_step, "metrics": metrics
    }  # fmt: skip


def warm_up() -> None:
    """Loads the compiled code of all heads."""
    trained(World())
