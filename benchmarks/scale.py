"""Memory, time, waiting and bytes of training steps whose labels are divided among processes of one machine.

`python benchmarks/scale.py [L]` trains a dense head over L labels (default 1,000,000) by 1, 2 and 4 processes that
share the cores of the machine. There is no encoder: the embeddings of the texts are random numbers.
"""

from __future__ import annotations

import os
import pickle
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import record
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from support.ranks import free_port

from megalabel.distributed import collectives, objects
from megalabel.distributed.own_texts import shares
from megalabel.distributed.world import World, join
from megalabel.heads.dense import DenseHead
from megalabel.heads.wrappers import label_parallel
from megalabel.kernels.updates.rule import ONLY_PART
from megalabel.training.log import peak_mb, trim_memory
from megalabel.training.memory import resident_mb
from megalabel.training.optim.fused import FusedSGD
from megalabel.types import Positives

DIM, TEXTS, LABELS_PER_TEXT, STEPS = 64, 32, 5, 4


class Waiting:
    """Measures the seconds that a process spends in exchanges."""

    def __init__(self) -> None:
        self.seconds = 0.0
        for name in ("gather_rows", "sum_of_all"):
            setattr(label_parallel, name, self._timed(getattr(collectives, name)))
        collectives.Pending.wait = self._timed(collectives.Pending.wait)

    def _timed(self, function):
        def timed(*arguments):
            start = time.perf_counter()
            found = function(*arguments)
            self.seconds += time.perf_counter() - start
            return found

        return timed


def steps(world: World, n_labels: int) -> dict[str, float]:
    """Trains a few steps, after one that allocates what the later ones need."""
    torch.set_num_threads(1)
    waiting = Waiting()
    _steps(world, 1024, waiting)  # libraries take memory at their first use
    trim_memory()
    before = resident_mb()
    found = _steps(world, n_labels, waiting)
    return found | {"head, measured": peak_mb() - before}


def _steps(world: World, n_labels: int, waiting: Waiting) -> dict[str, float]:
    random = np.random.default_rng(0)
    torch.manual_seed(0)
    head = label_parallel.over_processes(DenseHead, n_labels, DIM, loss_every=1 << 30)
    optimizer = FusedSGD(head, 0.01, 0.9)
    own = shares(TEXTS, world.size)[world.rank]
    for step in range(STEPS + 1):
        if step == 1:
            objects.barrier(world)
            start, waiting.seconds = time.perf_counter(), 0.0
        rows = torch.arange(TEXTS).repeat_interleave(LABELS_PER_TEXT)
        labels = torch.from_numpy(random.integers(n_labels, size=len(rows)))
        views = torch.randn(own, 1, DIM, requires_grad=True)
        optimizer.begin(ONLY_PART)
        head.loss(views, Positives.from_pairs(rows, labels, torch.arange(TEXTS))).backward()
        head.after_step(step, None)
    seconds = (time.perf_counter() - start) / STEPS
    state = sum(t.numel() * t.element_size() for t in (*head.parameters(), *optimizer.rules[0].weight_state()))
    return {
        "head": state / 1e6,
        "step": seconds,
        "waiting": waiting.seconds / STEPS / seconds,
        "sent": head.traffic.total / (STEPS + 1) / 1e3 if world.size > 1 else 0.0,
    }


def of_all(size: int, n_labels: int) -> list[dict[str, float]]:
    """What each of `size` forked processes measures."""
    port, folder = free_port(), Path(tempfile.mkdtemp())
    children = []
    for rank in range(size):
        child = os.fork()
        if not child:
            os.environ |= {
                "RANK": str(rank), "WORLD_SIZE": str(size), "LOCAL_RANK": str(rank), "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(port),
            }  # fmt: skip
            with join() as world:
                (folder / str(rank)).write_bytes(pickle.dumps(steps(world, n_labels)))
            os._exit(0)
        children.append(child)
    assert not any(os.waitpid(child, 0)[1] for child in children)
    return [pickle.loads((folder / str(rank)).read_bytes()) for rank in range(size)]


def main() -> None:
    n_labels = int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000
    one: dict[str, float] = {}
    for size in (1, 2, 4):
        found = of_all(size, n_labels)
        most = {name: max(rank[name] for rank in found) for name in found[0]}
        one = one or most
        place = f"L={n_labels} D={DIM} B={TEXTS} processes={size}"
        for metric, value, unit in (
            ("head, weights and momentum", most["head"], "MB"),
            ("head, peak", most["head, measured"], "MB"),
            (
                "head, peak times processes / that of one",
                most["head, measured"] * size / one["head, measured"],
                "",
            ),
            ("time per step", most["step"], "s"),
            ("share of it spent waiting", most["waiting"], ""),
            ("sent per step", most["sent"], "kB"),
        ):
            record.row("scale", place, metric, float(value), unit)
            print(place, metric, f"{value:.4g}", unit, flush=True)


if __name__ == "__main__":
    main()
