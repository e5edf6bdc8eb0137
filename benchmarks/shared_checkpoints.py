"""What a checkpoint costs a training of two processes: the copy for which it waits, and the writing beside it.

    python benchmarks/shared_checkpoints.py [LABELS]

Each process trains a dense head with momentum on half of the labels. All times but one are of the processor, in
both threads of a process: on a machine without an idle core, a thread that writes takes them from the training.
"""

from __future__ import annotations

import os
import socket
import statistics
import sys
import tempfile
import time
from pathlib import Path

import record
import torch

from megalabel.distributed.checkpoint_plan import Part, Rows
from megalabel.distributed.checkpoints import CheckpointSaver
from megalabel.distributed.collectives import sum_of_all
from megalabel.distributed.shards import LabelShards
from megalabel.distributed.world import World, join
from megalabel.heads.dense import DenseHead
from megalabel.training.optim.fused import FusedSGD
from megalabel.types import Positives

SIZE, DIM, BATCH, ROUNDS, STEPS = 2, 128, 64, 5, 2
INTERVALS = (60, 300)  # seconds between checkpoints; the second is the default


class Training:
    """The part of one process: steps, and the tensors of a checkpoint."""

    def __init__(self, world: World, n_labels: int) -> None:
        self.world, self.n_labels = world, n_labels
        self.own = LabelShards.even(n_labels, world.size).range(world.rank)
        self.head = DenseHead(len(self.own), DIM, loss_every=1 << 30)
        self.optimizer = FusedSGD(self.head, 0.01, momentum=0.9)
        self.views = torch.randn(BATCH, 1, DIM, requires_grad=True)
        self.positives = Positives.from_pairs(torch.arange(BATCH), torch.arange(BATCH) % len(self.own))

    def steps(self, count: int) -> None:
        """Makes steps, each with an exchange as in training."""
        for _ in range(count):
            self.head.loss(self.views, self.positives).backward()
            assert self.views.grad is not None
            sum_of_all(self.views.grad, self.world)
            self.views.grad = None

    def parts(self) -> dict[str, Part]:
        """Weights and momentum."""
        rows = Rows(self.own.start, self.own.stop, self.n_labels)
        state = {"weight": self.head.weight, "momentum": self.optimizer.rules[0].buffer}  # type: ignore[attr-defined]
        return {name: Part(tensor.detach(), rows) for name, tensor in state.items()}


def measured(world: World, n_labels: int, folder: Path) -> dict[str, float]:
    """Seconds of CPU of a step and of a checkpoint, and seconds for which the training waits; medians."""
    training = Training(world, n_labels)
    training.steps(2)
    parts, saver = training.parts(), CheckpointSaver(world)
    found: dict[str, list[float]] = {"step": [], "checkpoint": [], "copy": [], "waits": []}
    for i in range(ROUNDS + 1):
        begun = time.process_time()
        training.steps(STEPS)
        ended = time.process_time()
        found["step"].append((ended - begun) / STEPS)
        start = time.perf_counter()
        saver.start(folder, f"step-{i}", parts, {})
        found["waits"].append(time.perf_counter() - start)
        found["copy"].append(time.process_time() - ended)
        saver.wait()
        found["checkpoint"].append(time.process_time() - ended)
    # The first checkpoint also makes the memory of the copy.
    return {name: statistics.median(values[1:]) for name, values in found.items()}


def main() -> None:
    n_labels = int(sys.argv[1]) if len(sys.argv) > 1 else 200_000
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(server.getsockname()[1])}
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        rank = 0 if os.fork() else 1
        os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(SIZE), "LOCAL_RANK": str(rank)}
        with join() as world:
            found = measured(world, n_labels, Path(folder))
        if rank:
            os._exit(0)
        os.wait()
    size = f"L={n_labels} D={DIM} ranks={SIZE} B={BATCH}"
    record.row("shared_checkpoints", size, "step", 1e3 * found["step"], "ms of CPU")
    record.row("shared_checkpoints", size, "copy", 1e3 * found["copy"], "ms of CPU")
    record.row("shared_checkpoints", size, "copy and writing", 1e3 * found["checkpoint"], "ms of CPU")
    record.row("shared_checkpoints", size, "training waits", 1e3 * found["waits"], "ms")
    for seconds in INTERVALS:
        share = 100 * found["checkpoint"] / seconds
        record.row("shared_checkpoints", size, f"share of time at one in {seconds} s", share, "%")
    fewest = found["checkpoint"] / 0.03 / found["step"]
    record.row("shared_checkpoints", size, "steps between checkpoints for 3%", fewest, "")


if __name__ == "__main__":
    main()
