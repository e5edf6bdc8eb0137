"""The components of a training in bytes, and the peak that they add up to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

from megalabel.kernels.all_labels import memory as all_labels
from megalabel.kernels.candidates import memory as candidates
from megalabel.kernels.fan_in import memory as fan_in
from megalabel.kernels.updates import memory as updates
from megalabel.planning.job import NAME_BYTES, PER_TEXT, TEXT_BYTES, Job
from megalabel.storage.resident import RESIDENT, SPILL_FROM

FLOAT = 4
ON_DISK = ("head weights", "head momentum", "head optimizer state")  # where tables are
AHEAD = 6  # batches: four prepared in advance, one being made, one in use
# Bytes of the encoder's optimizer state per weight, if not the two moments of an AdamW: torchao has a byte for a
# moment, and 4 bytes of scale for 256 of them; its float32 moments of small tensors are not worth counting.
STATE = {"sgd": FLOAT, "adamw8bit": 2 * (1 + FLOAT / 256)}
COMPILER = 100e6  # what torch.compile keeps in memory; measured with torch 2.13 and torchao 0.18
When = Literal["always", "forward", "backward"]


class Component(NamedTuple):
    """A part of the memory.

    name: what it is.
    n_bytes: its size.
    when: "always"; "forward" where it is largest at the end of a forward pass and gone at the end of the backward
        pass; "backward" where it is the other way round.
    """

    name: str
    n_bytes: float
    when: When = "always"


def peak(components: list[Component]) -> float:
    """The bytes that are in memory at the same time, at the worst moment."""

    def total(when: When) -> float:
        return sum(part.n_bytes for part in components if part.when == when)

    return total("always") + max(total("forward"), total("backward"))


def components_of(job: Job, base: float) -> list[Component]:
    """All components of a training on a CPU; `base` is that of the interpreter and the libraries."""
    return [Component("interpreter and libraries", base), *_data(job), *_encoder(job), *_head(job)]


def _data(job: Job) -> list[Component]:
    data, rows = job.data, job.rows
    pairs = data.n_pairs or PER_TEXT * data.n_texts
    texts = data.text_bytes or TEXT_BYTES * job.length * data.n_texts
    names = data.label_bytes or NAME_BYTES * data.n_labels
    held = min(texts, SPILL_FROM) + min(names, SPILL_FROM)
    corpus = held + 16 * data.n_texts + 16 * data.n_labels + 8 * pairs + 8 * data.n_texts
    read = min(rows, data.n_texts) * job.length + (rows - min(rows, data.n_texts)) * min(job.length, 8)
    wide = 2 if job.encoder.vocabulary <= 1 << 16 else 4
    # Offsets, lengths, kept rows; order and cuts of an epoch.
    tokens = min(wide * read, SPILL_FROM) + (8 + 8 + 8 + 24) * rows
    batches = AHEAD * job.batch * (9 * job.length + 16 * PER_TEXT + 8)
    return [
        Component("texts and labels", corpus),
        Component("tokens of the texts", tokens),
        Component("batches in flight", batches),
    ]


def _encoder(job: Job) -> list[Component]:
    shape, n = job.encoder, job.part * job.length
    views = job.views if shape.is_bag else 1
    joined = 0 if shape.is_bag or job.views == 1 else 2 * shape.hidden**2 + shape.hidden
    bottleneck = int(job.values.get("bottleneck") or 0) * (shape.width or shape.hidden)
    dense, table = shape.dense(views) + joined + bottleneck, shape.table()
    frozen = bool(job.values.get("frozen"))
    weights = FLOAT * (dense + table + (shape.vocabulary if shape.is_bag else 0))
    if frozen:
        return [Component("encoder weights", weights)]
    per_weight = STATE.get(str(job.values.get("encoder_optimizer")), 2 * FLOAT)
    state = per_weight * (dense + (0 if shape.sparse else table))
    state += FLOAT * (2 * table + shape.vocabulary) if shape.sparse else 0
    trained = dense if shape.sparse else dense + table
    gradients = FLOAT * trained
    embedding = shape.embedding_activations(n)
    rows = min(n, shape.vocabulary)
    # A sparse gradient: the rows of all tokens (in a bag times their weights, in place), and the sums by token.
    sparse = FLOAT * shape.hidden * (n + rows) + 24 * n if shape.sparse else 0.0
    of_text = FLOAT * job.part * views * (6 * shape.hidden + 2 * shape.inner) if shape.is_bag else 0.0
    if shape.is_bag:
        found = [Component("activations", of_text + 24 * n, "forward")]
    else:
        layer, moving = shape.layer_activations(n, job.length), shape.moving(n, job.length)
        kept = FLOAT * n * shape.hidden * shape.layers if job.checkpointing else layer * shape.layers
        again = layer if job.checkpointing else 0.0
        found = [
            Component("activations", embedding + kept + again + moving, "forward"),
            Component("activations of the first layer", embedding + layer + moving, "backward"),
        ]
    largest = FLOAT * (shape.hidden * shape.inner if shape.sparse or shape.is_bag else table)
    kept_gradients: When = "always" if job.parts > 1 else "backward"
    return [
        Component("encoder weights", weights),
        Component("encoder optimizer state", state),
        *([] if job.values.get("encoder_optimizer") != "adamw8bit" else _compiled_step(largest)),
        *found,
        Component("encoder gradients", gradients, kept_gradients),
        Component("gradients of the tokens", sparse, "backward"),
        Component("gradient of the largest table of a micro-batch", largest * (job.parts > 1), "backward"),
    ]


def _compiled_step(largest: float) -> list[Component]:
    """What torchao's compiled step takes: the two new moments of a tensor in float32, before they are packed."""
    return [
        Component("compiler of the optimizer's step", COMPILER),
        Component("moments of the largest table in a step", 2 * largest, "backward"),
    ]


def _head(job: Job) -> list[Component]:
    make: dict[str, Callable[[Job], list[Component]]] = {"dense": _dense, "sparse": _sparse, "cascade": _cascade}
    found = make[job.head](job)
    return [part for part in (placed(job, found) if job.on_disk else found) if part.n_bytes]


def placed(job: Job, found: list[Component]) -> list[Component]:
    """The components of a head with tables on disk, of which biases with their state and some pages are in memory.

    A sparse head is swept by one compiled call, so that all of its pages may be mapped where memory is free.
    """
    if job.head == "sparse":
        return found
    moved = sum(part.n_bytes for part in found if part.name in ON_DISK)
    beside = float(job.weight_bytes == 1)
    if job.levels is None:
        beside = (beside + FLOAT * bool(job.values.get("bias")) * (1 + job.has_momentum)) * job.data.n_labels
    else:
        state = {"sgd": 0, "adagrad": 2}.get(job.values["head_optimizer"], 3)
        beside = (beside + FLOAT * (1 + state)) * sum(job.levels.sizes)
    return [
        *(part for part in found if part.name not in ON_DISK),
        Component("head biases and scales, with their state", beside),
        Component("pages of the tables on disk", min(moved - beside, RESIDENT)),
    ]


def _dense(job: Job) -> list[Component]:
    labels, dim, values = job.data.n_labels, job.dim, job.values
    bias = bool(values.get("bias"))
    weights = all_labels.weights(labels, dim, bias=bias, weight_bytes=job.weight_bytes)
    working = all_labels.working(labels, dim, job.part, job.threads)
    numbers = labels * (dim + bias)
    if job.has_adam:  # torch's AdamW, with gradients
        return [
            Component("head weights", weights),
            Component("head optimizer state", 2 * FLOAT * numbers),
            # Made by the head, which comes first in the backward pass: the activations are still there.
            # The gradient of a further micro-batch is whole before it is added to the sum.
            Component("head gradients", FLOAT * numbers),
            Component("head gradients of a micro-batch", FLOAT * numbers * (job.parts > 1), "forward"),
            Component("logits chunk and sums", working),
        ]
    momentum = job.has_momentum
    state = updates.sgd_state(labels, dim, momentum=momentum, parts=job.parts, state_bytes=job.state_bytes)
    state += FLOAT * labels * bias * (momentum or job.parts > 1)
    state += updates.compensation(_compensated(job), dim)
    return [
        Component("head weights", weights),
        Component("head momentum", state),
        Component("logits chunk and sums", working),
    ]


def _sparse(job: Job) -> list[Component]:
    values, dim, labels = job.values, job.dim, job.data.n_labels
    dense = min(round(values["dense_fraction"] * labels), labels - 1) if values["dense_fraction"] < 1 else labels
    rest, f, group = labels - dense, values["fan_in"], values["group"]
    scale = float(job.weight_bytes == 1)
    weights = fan_in.weights(rest, f, weight_bytes=job.weight_bytes, row_bytes=scale) if rest else 0.0
    weights += all_labels.weights(dense, dim, bias=True, weight_bytes=job.weight_bytes) if dense else 0.0
    state = _fused_state(job, rest, f) + _fused_state(job, dense, dim)
    kept = min(_compensated(job), dense)  # the most frequent labels are those of the dense part
    state += updates.compensation(kept, dim) + updates.compensation(_compensated(job) - kept, f)
    narrow = (job.weight_bytes < FLOAT) + (job.has_momentum and job.state_bytes < FLOAT)
    working = fan_in.working(f, dim, job.part, job.threads, group, narrow) if rest else 0.0
    working += all_labels.working(dense, dim, job.part, job.threads) if dense else 0.0
    beside = 0
    if values.get("projection_dim"):
        beside += dim * ((job.encoder.width or job.encoder.hidden) + 1)
    clusters = 0
    if values["auxiliary"]:
        clusters = min(labels, 2 ** max(1, (-(-labels // 100) - 1).bit_length()))
        beside += clusters * (dim + 1)
    order = 24 * labels if dense or group > 1 else 0
    found = [
        Component("head weights", weights),
        Component("inputs of the labels", fan_in.inputs(rest, f, dim, group) if rest else 0.0),
        Component("head optimizer state", state),
        Component("projection and auxiliary classifier, with gradients and optimizer state", 4 * FLOAT * beside),
        Component("order and clusters of the labels", order + (8 * labels if clusters else 0)),
        Component("sums of the embedding's gradient", working),
    ]
    return found


def _compensated(job: Job) -> int:
    """The number of labels whose narrow weights keep what rounding cuts off."""
    fraction = float(job.values.get("compensated_fraction", 0)) if job.weight_bytes < FLOAT else 0.0
    return round(fraction * job.data.n_labels)


def _fused_state(job: Job, rows: int, width: int) -> float:
    if not rows:
        return 0.0
    if job.values["head_optimizer"] == "adagrad":
        return updates.adagrad_state(rows, width + 1, parts=job.parts)
    if not job.has_adam:
        momentum = job.has_momentum
        of_biases = updates.sgd_state(rows, 1, momentum=momentum, parts=job.parts)
        own = updates.sgd_state(rows, width, momentum=momentum, parts=job.parts, state_bytes=job.state_bytes)
        return own + of_biases
    return updates.adam_state(rows, width + 1, parts=job.parts, state_bytes=job.state_bytes)


def _cascade(job: Job) -> list[Component]:
    levels, dim, values = job.levels, job.dim, job.values
    assert levels is not None
    sizes = levels.sizes
    states = {"sgd": 0.0, "adagrad": candidates.adagrad_state(sizes)}
    adam = candidates.adam_state(sizes, dim, state_bytes=job.state_bytes)
    working = candidates.working(sizes, levels.beams, dim, job.part) * job.parts
    scale = float(job.weight_bytes == 1)
    widened = candidates.widened(sizes, dim) if job.weight_bytes < FLOAT else 0.0
    found = [
        Component("head weights", candidates.tables(sizes, dim, weight_bytes=job.weight_bytes, row_bytes=scale)),
        Component("head optimizer state", states.get(values["head_optimizer"], adam)),
        Component("label tree", candidates.tree(sizes)),
        Component("candidates", working),
        Component("first level as float32", widened),
    ]
    if values.get("dense_updates"):
        found.append(Component("head gradients", FLOAT * sum(sizes) * (dim + 1)))
    return found
