"""Recipes of which several processes hold parts, saved and loaded, for `ranks.py`."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from planted import planted
from torch import nn

from megalabel.distributed.checkpoint_plan import Rows
from megalabel.distributed.shards import LabelShards
from megalabel.distributed.world import World
from megalabel.heads.dense import DenseHead
from megalabel.kernels.updates.rule import ONLY_PART
from megalabel.recipes import get
from megalabel.training import loop
from megalabel.training.nested_state import without_tensors
from megalabel.training.optim.averaging import WeightAverage
from megalabel.training.optim.fused import Fused, FusedSGD
from megalabel.training.optim.groups import Optimizers
from megalabel.training.run import Run, train
from megalabel.training.run_folder import create_run_folder
from megalabel.training.shared_checkpoint import SharedCheckpoints
from megalabel.training.shared_checkpoint import load as load_recipe_state

SHORT = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=1, batch_size=32, warmup=0.1, dropout=0.0, log_every=1,
    validation_fraction=0.0,
)  # fmt: skip
CASCADE = {name: value for name, value in SHORT.items() if name not in ("dropout", "warmup")} | {
    "clusters": (4, 16), "beams": (2, 6), "level_dropout": (0.0, 0.0, 0.0), "precision": "float32",
    "schedule": "cosine", "warmup_epochs": 0.2,
}  # fmt: skip
SETTINGS = {
    "renee": {**SHORT, "bias": True, "head_lr": 0.02, "token_lr": 0.02},
    "spartex": {**SHORT, "fan_in": 4, "rewire_every": 2, "auxiliary_epochs": 0.5},
    "cascadexml": CASCADE,
}


class _Recipe:
    """The parts of a recipe that a checkpoint reads: a small encoder, and a head with a process's labels."""

    def __init__(self, kind: str, bounds: tuple[int, ...], rank: int) -> None:
        torch.manual_seed(5)
        self.encoder, self.rows = nn.Linear(3, 4), LabelShards(bounds).range(rank)
        self.head = DenseHead(max(len(self.rows), 1), 4, bias=True)
        own = Rows(self.rows.start, self.rows.stop, bounds[-1])
        labels = torch.arange(float(own.start), own.stop)
        self.head.weight.data, self.head.bias.data = labels[:, None].repeat(1, 4), labels.clone()
        self.divided = {"head/weight": own, "head/bias": own}
        made = {
            "sgd": lambda: FusedSGD(self.head, 0.1, momentum=0.9),
            "adamw": lambda: torch.optim.AdamW(self.head.parameters(), 0.1),
        }
        self.optimizers = Optimizers(encoder=torch.optim.AdamW(self.encoder.parameters(), 0.1), head=made[kind]())
        self.averaging = WeightAverage()

    def modules(self) -> dict[str, nn.Module]:
        return {"encoder": self.encoder, "head": self.head}

    def move(self) -> None:
        """A step of every optimizer by gradients that depend on the label; the first process moves no label."""
        for parameter in (*self.encoder.parameters(), *self.head.parameters()):
            parameter.grad = parameter.detach() + 1
        optimizer = self.optimizers["head"]
        if isinstance(optimizer, Fused) and self.rows.start:
            (rule,) = optimizer.rules
            rule.prepare(self.head.weight.data, self.head.bias.data, ONLY_PART)
            for name in rule.KEPT:
                getattr(rule, name).add_(self.rows.start)
        elif not isinstance(optimizer, Fused):
            optimizer.step()
        self.optimizers["encoder"].step()
        self.averaging.update(0, self.encoder, self.head)

    def state(self) -> dict[str, Any]:
        """All tensors by name."""
        tensors = {f"{key}/{n}": t for key, m in self.modules().items() for n, t in m.state_dict().items()}
        for key, one in {**self.optimizers.named, "averaging": self.averaging}.items():
            without_tensors(one.state_dict(), key, tensors)
        return {name: tensor.clone() for name, tensor in tensors.items()}


def save_recipe(world: World, folder: Path, kind: str, bounds: tuple[int, ...]) -> dict[str, Any]:
    """The state of a process that it has saved."""
    recipe = _Recipe(kind, bounds, world.rank)
    recipe.move()
    checkpoints = SharedCheckpoints(world, recipe, recipe.divided)
    checkpoints.save(folder, torch.amp.GradScaler(enabled=False), {"step": 3})
    found = recipe.state()
    checkpoints.wait()
    return found


def load_recipe(world: World, folder: Path, kind: str, bounds: tuple[int, ...]) -> tuple[Any, dict[str, Any]]:
    """The progress and the state that a process loads."""
    recipe = _Recipe(kind, bounds, world.rank)
    for module in recipe.modules().values():
        for tensor in module.state_dict().values():
            tensor.zero_()
    progress = load_recipe_state(folder, recipe, torch.amp.GradScaler(enabled=False), world, recipe.divided)
    return progress, recipe.state()


class Stopped(Exception):
    """Ends a training before a step."""


def relay(
    world: World, source: Path, target: Path | None, kind: str, texts: list[str], stop: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Trains to a step, or resumes the run in `source`; then saves a checkpoint in `target`, or ends the run.

    Returns:
        The ranking of some texts by the weights that were saved.
    """
    recipe = get(kind)(planted(), **SETTINGS[kind])
    run = Run(recipe, source, torch.device("cpu"), quiet=True)
    run.processes.by_main(lambda: create_run_folder(source, recipe))
    run.begin()
    if stop:
        made = loop.train_step

        def train_step(recipe: Any, batch: Any, *rest: Any) -> float:
            if batch.step == stop:
                raise Stopped
            return made(recipe, batch, *rest)

        loop.train_step = train_step
        with contextlib.suppress(Stopped):
            run.fit(300, stop, 1.0)
        run.checkpoints.wait()
    else:
        assert run.position.step
    found = run.model().eval().settle().topk(texts, 5)
    if target is not None:
        if world.is_main and target != source:
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("last"))
        run.processes.wait()
        run.checkpoints.save(target / "last", run.position)
        run.checkpoints.wait()
    else:
        run.log = SimpleNamespace(say=lambda line: None)  # as `fit` has not run
        run.finish()
    return found.ids, found.scores


def warm_up() -> None:
    """Loads the compiled code of recipes whose labels are divided."""
    texts = list(planted().test.texts[:20])
    with tempfile.TemporaryDirectory() as folder:
        for kind in ("spartex", "cascadexml"):
            recipe = get(kind)(planted(), **SETTINGS[kind])
            train(recipe, Path(folder) / kind, device="cpu", quiet=True).topk(texts, 5)
