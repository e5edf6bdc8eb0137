"""The memory of prediction and of reading data, by component."""

from __future__ import annotations

from megalabel.kernels.all_labels import memory as all_labels
from megalabel.kernels.candidates import memory as candidates
from megalabel.kernels.fan_in import memory as fan_in
from megalabel.planning.components import FLOAT, Component, components_of
from megalabel.planning.job import NAME_BYTES, TEXT_BYTES, Job
from megalabel.storage.resident import SPILL_FROM

K = 10  # labels per text, as `megalabel predict` answers by default
BLOCK = 256  # texts that are encoded and searched at a time
READING = 245e6  # bytes of the interpreter with what reading imports


def prediction(job: Job, base: float, texts: int = BLOCK) -> list[Component]:
    """The components of `megalabel predict` with the model of such a training."""
    kept = ("encoder weights", "head weights", "inputs of the labels", "label tree")
    job = job.having(tables="memory") if job.on_disk else job  # a model is read into memory
    found = [part for part in components_of(job, base) if part.name in kept]
    names = (job.data.label_bytes or NAME_BYTES * job.data.n_labels) + 16 * job.data.n_labels
    shape, n = job.encoder, texts * job.length
    moving = FLOAT * n * (4 * shape.hidden + 2 * shape.inner)
    moving = FLOAT * n * shape.hidden if shape.is_bag else moving
    if job.head == "dense":
        width = job.weight_bytes
        search = all_labels.topk_working(job.data.n_labels, job.dim, texts, K, job.threads, weight_bytes=width)
    elif job.head == "sparse":
        search = fan_in.topk_working(job.dim, texts, K, job.threads)
    else:
        assert job.levels is not None
        levels = job.levels.sizes, job.levels.beams
        search = (
            candidates.beam_working(*levels, texts, K)
            if job.weight_bytes == FLOAT
            else candidates.narrow_beam_working(*levels, job.dim, texts, K)
        )
    return [
        Component("interpreter and libraries", base),
        Component("names of labels", names),
        *found,
        Component("activations", moving),
        Component("search", search),
    ]


def reading(job: Job) -> list[Component]:
    """The components of reading a data set: texts, labels and their names, and the line that is being read."""
    parts = {part.name: part for part in components_of(job, 0.0)}
    data = job.data
    # Names are also keys of a dictionary while labels are matched; the growing block of bytes is copied once.
    growth = data.label_bytes or NAME_BYTES * data.n_labels
    growth += min(data.text_bytes or TEXT_BYTES * job.length * data.n_texts, SPILL_FROM)
    return [
        Component("interpreter and libraries", READING),
        parts["texts and labels"],
        Component("growing blocks of texts", 0.5 * growth),
    ]
