"""Which outputs of the encoder the labels of a sparse layer read, and how large their weights are."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from megalabel.heads.abilities import having
from megalabel.heads.sparse import SparseHead
from megalabel.models.neural import NeuralClassifier
from megalabel.reporting.blocks import Block
from megalabel.reporting.drawing import BLUE, ORANGE
from megalabel.reporting.subject import Subject
from megalabel.reporting.words import percent

BINS = 30
BLOCK = 1 << 16  # labels whose weights are read at a time
SMALL = 0.01  # of the largest weight


class Connections(NamedTuple):
    """The layer of L labels with F inputs each out of D outputs.

    used: (D,) how many labels (or groups of labels) read each output.
    edges: (b + 1,) of absolute weights; counts: (b,) the weights in each bin.
    small: the share of weights below a hundredth of the largest.
    """

    n_labels: int
    fan_in: int
    used: np.ndarray
    edges: np.ndarray
    counts: np.ndarray
    small: float


def connections_of(subject: Subject) -> Connections | None:
    """The statistics of a sparse layer; None for models without one."""
    heads = having(subject.model.head, SparseHead) if isinstance(subject.model, NeuralClassifier) else []
    if not heads:
        return None
    head = heads[0]
    inputs = head.get_buffer("inputs").cpu().numpy()
    weights, n = head.weight.detach(), len(head.weight)
    blocks = [slice(start, start + BLOCK) for start in range(0, n, BLOCK)]
    largest = max((float(weights[rows].float().abs().max()) for rows in blocks), default=0.0)
    edges = np.linspace(0, largest or 1.0, BINS + 1)
    counts, small = np.zeros(BINS, np.int64), 0
    for rows in blocks:
        values = weights[rows].float().abs().cpu().numpy()
        counts += np.histogram(values, edges)[0]
        small += int((values < SMALL * largest).sum())
    used = np.bincount(inputs.ravel().astype(np.int64), minlength=head.dim)
    return Connections(n, head.fan_in, used, edges, counts, small / max(n * head.fan_in, 1))


def connections_block(subject: Subject) -> Block | None:
    """The statistics of a sparse layer as a figure; None for models without one."""
    found = connections_of(subject)
    if found is None:
        return None
    order = np.argsort(-found.used, kind="stable")
    rows = [[int(i), int(found.used[i])] for i in order]
    return Block(
        "connections", "Connections of the sparse layer", _finding(found), ("output", "connections"), rows,
        draw=lambda *axes: _draw(axes, found), axes=(1, 2), height=2.6,
    )  # fmt: skip


def _finding(found: Connections) -> str:
    mean, most = found.used.mean(), found.used.max()
    unused = int((found.used == 0).sum())
    none = f"{unused:,} outputs are read by no label" if unused else "every output is read by some label"
    return (
        f"Each of the {found.n_labels:,} labels reads {found.fan_in:,} of {len(found.used):,} outputs; {none}, "
        f"and the most used one is read {most / max(mean, 1e-9):.1f} times as often as the mean. "
        f"{percent(found.small)} of the weights are below a hundredth of the largest."
    )


def _draw(axes: Any, found: Connections) -> None:
    outputs, weights = axes
    outputs.plot(np.arange(1, len(found.used) + 1), -np.sort(-found.used), color=BLUE)
    outputs.axhline(found.used.mean(), color=ORANGE, linestyle="--", linewidth=1, label="mean")
    outputs.set_ylim(bottom=0)
    outputs.set_title("Connections of each output, most used first")
    outputs.set_xlabel("output")
    outputs.legend()
    weights.stairs(found.counts, found.edges, fill=True, color=BLUE)
    weights.set_title("Absolute values of the weights")
    weights.set_xlabel("absolute weight")
