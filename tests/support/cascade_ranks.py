"""Cascades that several processes train together, and one that a single process trains with the same batches."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np
import torch
from planted import planted
from support.recipe_programs import CASCADE
from torch import Tensor, nn

from megalabel.distributed.collecting import rows_to_main
from megalabel.distributed.collectives import sum_of_all
from megalabel.distributed.own_texts import shares
from megalabel.distributed.subtrees import Subtrees
from megalabel.distributed.world import World
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.wrappers.auxiliary import WithAuxiliary
from megalabel.heads.wrappers.cascade_parallel import CascadeParallel
from megalabel.labels.tree import LabelTree
from megalabel.recipes import get
from megalabel.training.optim.row_sparse import RowAdagrad, RowAdam, RowSGD
from megalabel.training.run import train
from megalabel.types import Positives

N_LABELS, DIM, INPUTS, BATCH, STEPS = 61, 8, 10, 13, 5
LABELS_PER_TEXT = 3


def tree() -> LabelTree:
    """Five coarse clusters of 1 to 5 fine ones with 61 labels, in no order."""
    rng = np.random.default_rng(5)
    fine = np.repeat(np.arange(14), [1, 9, 3, 4, 5, 6, 2, 3, 4, 5, 6, 4, 5, 4])
    labels = np.empty(N_LABELS, np.int64)
    labels[rng.permutation(N_LABELS)] = fine
    return LabelTree.from_parents([np.repeat(np.arange(5), [1, 3, 5, 2, 3]), labels])


def losses_with_auxiliary(world: World, borders: tuple[int, ...] | None) -> dict[str, float]:
    """The loss and the metrics of a cascade with an auxiliary classifier; borders: as in `trained`."""
    arguments: dict[str, Any] = {"beams": (3, 4), "generator": torch.Generator().manual_seed(2)}
    head: CascadeHead | CascadeParallel = (
        CascadeHead(tree(), DIM, **arguments)
        if borders is None
        else CascadeParallel(tree(), DIM, world=world, subtrees=Subtrees.at(tree(), *borders), **arguments)
    )
    around = WithAuxiliary(head, torch.arange(N_LABELS) % 7, loss_weight=0.7, until=6, generator=seeded(3))
    inputs, positives = texts(1)
    views = torch.randn(len(inputs), head.n_views, DIM, generator=seeded(4))
    cuts = [0, *accumulate(shares(len(inputs), world.size))]
    loss = around.loss(views[cuts[world.rank] : cuts[world.rank + 1]], positives)
    return {"loss": float(sum_of_all(loss.detach().clone(), world)), **around.metrics()}


def seeded(seed: int) -> torch.Generator:
    """A random generator."""
    return torch.Generator().manual_seed(seed)


def texts(seed: int) -> tuple[Tensor, Positives]:
    """Inputs (13, 10) and labels of a batch; one text has no label, and texts have weights."""
    random = torch.Generator().manual_seed(seed)
    inputs = torch.randn(BATCH, INPUTS, generator=random)
    labels = torch.randint(N_LABELS, (BATCH - 1, LABELS_PER_TEXT), generator=random)
    rows = torch.arange(BATCH - 1).repeat_interleave(LABELS_PER_TEXT)
    weights = torch.rand(BATCH, generator=random) + 0.5
    return inputs, Positives.from_pairs(rows, labels.flatten(), torch.arange(BATCH) + 100, weights)


def trained(world: World, optimizer: str, borders: tuple[int, ...] | None, **settings: Any) -> dict[str, Any]:
    """Weights, encoder, rankings and metrics after some steps, and the bytes that the last step has sent.

    borders: the coarse clusters at which the tree is divided; None for a head that is not parallel.
    """
    arguments = {"beams": (3, 4), "generator": torch.Generator().manual_seed(2), **settings}
    parallel = None
    if borders is None:
        head: CascadeHead | CascadeParallel = CascadeHead(tree(), DIM, **arguments)
    else:
        subtrees = Subtrees.at(tree(), *borders)
        head = parallel = CascadeParallel(tree(), DIM, world=world, subtrees=subtrees, **arguments)
    torch.manual_seed(3)
    encoder = nn.Linear(INPUTS, head.n_views * DIM)
    steppers: list[Any] = [torch.optim.SGD(encoder.parameters(), lr=0.5)]
    if optimizer == "dense":
        steppers.append(torch.optim.Adam(head.parameters(), lr=0.02))
    else:
        kinds = {"adam": RowAdam, "adagrad": RowAdagrad, "sgd": RowSGD}
        steppers.append(kinds[optimizer](head, lr=0.02, weight_decay=0.01))
    sent, losses = 0, []
    for step in range(STEPS):
        torch.manual_seed(step)
        inputs, positives = texts(step)
        if step == 0:  # fewer texts than processes
            inputs, positives = inputs[:2], positives.of_texts(0, 2)
        cuts = [0, *accumulate(shares(len(inputs), world.size))]
        views = encoder(inputs[cuts[world.rank] : cuts[world.rank + 1]]).view(-1, head.n_views, DIM)
        sent = parallel.traffic.total if parallel else 0
        loss = head.loss(views, positives)
        loss.backward()
        sent = parallel.traffic.total - sent if parallel else 0
        for parameter in encoder.parameters():
            sum_of_all(parameter.grad, world)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad()
        losses.append(float(sum_of_all(loss.detach().clone(), world)))
    with torch.no_grad():
        inputs, hidden = texts(99)
        views = encoder(inputs).view(-1, head.n_views, DIM)
        tops = [head.topk(views, 5), head.topk(views, 70, exclude=hidden)]
    return {
        "state": saved_state(parallel, world) if parallel else dict(head.state_dict()),
        "encoder": encoder.state_dict(),
        "tops": tops,
        "losses": losses,
        "metrics": head.metrics(),
        "sent": sent,
        "rows": [len(table) for table, _ in head.tables()],
    }


def saved_state(head: CascadeParallel, world: World) -> dict[str, Tensor] | None:
    """The tensors of the cascade of all processes, in the main one."""
    state = dict(head.state_dict())
    for i, shards in enumerate(head.subtrees.levels):
        for name in (f"weights.{i}", f"biases.{i}"):
            state[name] = rows_to_main(state[name], shards.sizes, world)
    return state if world.is_main else None


def run(world: World, optimizer: str, borders: tuple[int, ...], settings: dict[str, Any]) -> dict[str, Any]:
    """`trained` with its settings as a dictionary."""
    return trained(world, optimizer, borders, **settings)


def warm_up() -> None:
    """Loads the compiled code of training and prediction."""
    for optimizer in ("adam", "adagrad", "sgd"):
        trained(World(), optimizer, (0, 5))


def recipe_run(world: World, out: str) -> None:
    """Trains the recipe into a folder."""
    train(get("cascadexml")(planted(n_labels=61), **CASCADE), out, device="cpu", quiet=True)
