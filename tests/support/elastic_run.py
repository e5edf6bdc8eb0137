"""Trains on the planted data, started by torchrun: `python elastic_run.py OUT [RANK:STEP ...]`.

The process with the first rank kills itself after the first step given, when the run has gone on the one with the
second rank, and so on.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from planted import planted
from support.light_runs import LIGHT

from megalabel.distributed.session import session
from megalabel.distributed.world import World
from megalabel.recipes.renee import renee
from megalabel.training import loop
from megalabel.training.run import train


def trained(world: World, out: Path) -> None:
    """A run of the processes of `world`."""
    recipe = renee(planted(), **{**LIGHT, "epochs": 2, "validation_fraction": 0.0})
    train(recipe, out, device="cpu", checkpoint_steps=4, quiet=True)


def main(out: str, *kills: str) -> None:
    """Trains, and dies if it is this process's turn."""
    made = loop.train_step

    def train_step(recipe: Any, batch: Any, *rest: Any) -> float:
        found = made(recipe, batch, *rest)
        for kill in kills:
            done = Path(f"{out}-{kill}")
            if done.exists():
                continue
            if kill == f"{os.environ['RANK']}:{batch.step}":
                done.touch()
                os.kill(os.getpid(), signal.SIGKILL)
            break
        return found

    loop.train_step = train_step
    torch.set_num_threads(1)
    with session(60) as world:
        trained(world, Path(out))


if __name__ == "__main__":
    main(*sys.argv[1:])
