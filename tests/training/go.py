"""Trains in forked processes, which kill themselves at a step if asked; used through `support/killed_runs.py`.

Each line of standard input is a JSON list: the run folder, the step to be killed at (or -1), the arguments of the
recipe. The answer to each is a line with the exit code of the process. With the argument `warm`, the first run of
each recipe is also done here before: compiled code and modules that it loads need not be loaded in each process.
"""

import json
import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))

from planted import planted

from megalabel.recipes import get
from megalabel.storage import tables
from megalabel.training.log import Log
from megalabel.training.run import train


def run(out: str, killed_at: int, arguments: dict) -> None:
    told = Log.step

    def step(self: Log, step: int, *rest: object) -> None:
        told(self, step, *rest)
        if step == killed_at:
            os.kill(os.getpid(), signal.SIGKILL)

    Log.step = step
    if arguments.get("tables") == "disk":
        tables.LEAST, tables.RESIDENT = 1, 0  # even the smallest tables, released as often as possible
    recipe = get(arguments.pop("recipe", "renee"))(planted(), **arguments)
    train(recipe, out, device="cpu", checkpoint_steps=3, quiet=True)


def warm_up(arguments: dict) -> None:
    """Trains as a run with these arguments does, but for the place of its tables."""
    recipe = get(arguments.pop("recipe", "renee"))(planted(), **arguments)
    with tempfile.TemporaryDirectory() as folder:
        train(recipe, Path(folder) / "run", device="cpu", quiet=True)


torch.set_num_threads(1)
warmed: set[str] = set()
for line in sys.stdin:
    arguments = {name: value for name, value in json.loads(line)[2].items() if name != "tables"}
    key = json.dumps(arguments, sort_keys=True)
    if "warm" in sys.argv[1:] and key not in warmed:
        warmed.add(key)
        warm_up(arguments)
    child = os.fork()
    if not child:
        code = 1
        try:
            run(*json.loads(line))
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
