"""Whether probabilities are right: overall, and by label frequency."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from megalabel.metrics.calibration import Reliability, reliability
from megalabel.reporting.blocks import Block, Cell
from megalabel.reporting.drawing import BLUE, GRAY, ORANGE, name_ticks, percent_axis
from megalabel.reporting.frequency import deciles
from megalabel.reporting.subject import Subject
from megalabel.reporting.words import percent, points
from megalabel.types import TopK

RIGHT = 0.02  # a difference of probability and share that is not worth a word
FEWEST = 100  # predictions of a decile that a sentence speaks of


def calibration_block(subject: Subject) -> Block | None:
    """The reliability diagram of the first k labels; None for scores that are no probabilities."""
    if subject.probabilities is None:
        return None
    k = subject.first
    found = reliability(TopK(subject.ids, subject.probabilities), subject.labels, k)
    if not len(found.counts):
        return None
    rows: list[list[Cell]] = [[int(n), float(p), float(t)] for n, p, t in zip(*found, strict=True)]
    return Block(
        "calibration", f"Calibration of the first {k} labels", _finding(found, k),
        ("predictions", "mean probability", "share that is true"), rows,
        about="Each point is a fifteenth of the predictions. On the diagonal, probabilities are right; below it, "
        "the model is too sure.",
        draw=lambda axis: _draw(axis, found), height=3.1,
    )  # fmt: skip


def _finding(found: Reliability, k: int) -> str:
    off = found.predicted - found.true
    worst = int(np.abs(off).argmax())
    text = f"Probabilities are off by {points(found.error)} on average (ECE@{k})"
    if abs(off[worst]) < RIGHT:
        return f"{text}, and nowhere by more than {points(abs(off[worst]))}."
    word = "too sure" if off[worst] > 0 else "not sure enough"
    return (
        f"{text}; the model is most clearly {word} where it says {percent(found.predicted[worst])}: "
        f"{percent(found.true[worst])} of these labels are true."
    )


def _draw(axis: Any, found: Reliability) -> None:
    axis.plot([0, 1], [0, 1], color=GRAY, linewidth=1)
    axis.plot(found.predicted, found.true, "o-", color=BLUE)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1)
    axis.grid(axis="x")
    axis.set_xlabel("mean probability")
    axis.set_ylabel("share that is true")
    percent_axis(axis)
    percent_axis(axis, "x")


class _ByDecile(NamedTuple):
    """Arrays (d,): the predictions, their mean probability, and the share that is true."""

    names: list[str]
    n: np.ndarray
    predicted: np.ndarray
    true: np.ndarray


def calibration_by_frequency(subject: Subject) -> Block | None:
    """Mean probability and share of true labels among the first k, by label frequency."""
    if subject.probabilities is None or subject.trained_on is None:
        return None
    groups, k = deciles(subject.trained_on.counts), subject.first
    ids, hit, p = (array[:, :k] for array in (subject.ids, subject.hit, subject.probabilities))
    there = ids >= 0
    of, d = groups.of_label[ids[there]], len(groups.names)
    n = np.bincount(of, minlength=d)
    if d < 2 or not (n >= FEWEST).any():
        return None
    means = [np.bincount(of, values[there], d) / np.maximum(n, 1) for values in (p, hit)]
    found = _ByDecile(groups.names, n, *means)
    rows: list[list[Cell]] = [[name, int(m), float(a), float(b)] for name, m, a, b in zip(*found, strict=True)]
    return Block(
        "calibration-by-frequency", f"Calibration of the first {k} labels by label frequency",
        _by_decile(found), ("training texts", "predictions", "mean probability", "share that is true"), rows,
        draw=lambda axis: _draw_deciles(axis, found), height=2.9,
    )  # fmt: skip


def _by_decile(found: _ByDecile) -> str:
    off = np.where(found.n >= FEWEST, found.predicted - found.true, 0)
    worst = int(np.abs(off).argmax())
    if abs(off[worst]) < RIGHT:
        return f"Probabilities are right for rare and frequent labels alike, within {points(abs(off[worst]))}."
    word = "too high" if off[worst] > 0 else "too low"
    return (
        f"Probabilities are most wrong for labels with {found.names[worst]} training texts: "
        f"{percent(found.predicted[worst])} on average, {word} by {points(abs(off[worst]))}."
    )


def _draw_deciles(axis: Any, found: _ByDecile) -> None:
    at = np.arange(len(found.names))
    axis.bar(at - 0.2, found.predicted, 0.4, color=ORANGE, label="mean probability")
    axis.bar(at + 0.2, found.true, 0.4, color=BLUE, label="share that is true")
    axis.legend()
    axis.set_xlabel("training texts per label")
    name_ticks(axis, found.names, tilt=True)
    percent_axis(axis)
