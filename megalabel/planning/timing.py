"""The floor time of a training step: products at the speed of the machine, tables read and written once."""

from __future__ import annotations

from typing import NamedTuple

from megalabel.kernels.candidates.memory import candidates
from megalabel.planning.baseline import Baseline, Speed
from megalabel.planning.job import Job

FLOAT = 4
ASSUMED = Speed(50e9, 10e9)  # of two ordinary cores, to compare settings where nothing was measured


class Work(NamedTuple):
    """The work of a step: operations of products, and bytes of tables that are read and written."""

    flops: float
    n_bytes: float

    def seconds(self, speed: Speed) -> float:
        """The least time that it takes."""
        return self.flops / speed.flops + self.n_bytes / speed.memory


def work_of(job: Job) -> Work:
    """The work of a training step."""
    encoder, head = _encoder(job), _head(job)
    return Work(encoder.flops + head.flops, encoder.n_bytes + head.n_bytes)


def floor(job: Job, speed: Speed = ASSUMED) -> float:
    """The floor time of a step in seconds."""
    return work_of(job).seconds(speed)


def expected(job: Job, base: Baseline) -> float | None:
    """The expected time of a step in seconds; None where the machine was not measured."""
    return None if base.speed is None else floor(job, base.speed) / base.efficiency


def _encoder(job: Job) -> Work:
    shape, tokens = job.encoder, job.batch * job.length
    if shape.is_bag:
        rows = min(tokens, shape.vocabulary)
        block = 6.0 * job.batch * job.views * shape.block()
        return Work(block, FLOAT * shape.hidden * (4 * tokens + 6 * rows))
    passes = 4 if job.checkpointing else 3  # forward once or twice, backward of inputs and of weights
    passes = 1 if job.values.get("frozen") else passes
    products = 2.0 * tokens * shape.layers * (shape.block() + 2 * job.length * shape.hidden)
    weights = shape.dense() + (0 if shape.sparse else shape.table())
    return Work(passes * products, FLOAT * weights * (7 if passes > 1 else 1))


def _head(job: Job) -> Work:
    labels, dim, batch = job.data.n_labels, job.dim, job.batch
    state = job.state_bytes * (2 if job.has_adam else job.has_momentum)
    if job.head == "dense":
        return Work(6.0 * batch * labels * dim, 2 * job.parts * labels * dim * (job.weight_bytes + state))
    if job.head == "sparse":
        weights = labels * job.values["fan_in"]
        # Gathered products run at about a quarter of the speed of dense ones, in groups at half of it.
        slower = 4 if job.values["group"] == 1 else 2
        return Work(6.0 * slower * batch * weights, 2 * job.parts * weights * (job.weight_bytes + state))
    assert job.levels is not None
    cells = sum(n for n, _ in candidates(job.levels.sizes, job.levels.beams, batch))
    rows = min(cells, sum(job.levels.sizes))
    return Work(6.0 * cells * dim, rows * dim * 2 * (job.weight_bytes + state))
