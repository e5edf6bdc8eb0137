"""A run in a process of its own, which kills itself at a step if asked: `python go.py OUT STEP ARGUMENTS`."""

import json
import os
import signal
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from planted import planted

from megalabel.recipes import get
from megalabel.storage import tables
from megalabel.training.log import Log
from megalabel.training.run import train

torch.set_num_threads(1)
out, killed_at, arguments = sys.argv[1], int(sys.argv[2]), json.loads(sys.argv[3])
told = Log.step


def step(self: Log, step: int, *rest: object) -> None:
    told(self, step, *rest)
    if step == killed_at:
        os.kill(os.getpid(), signal.SIGKILL)


Log.step = step
if arguments.get("tables") == "disk":
    tables.LEAST, tables.RESIDENT = 1, 0  # even the smallest tables, released as often as possible
train(
    get(arguments.pop("recipe", "renee"))(planted(), **arguments),
    out,
    device="cpu",
    checkpoint_steps=3,
    quiet=True,
)
