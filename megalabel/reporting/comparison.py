"""Compares several models on the same texts: differences of metrics with paired bootstrap intervals."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from megalabel.errors import DataError
from megalabel.kernels.sparse.hits import best_gains
from megalabel.reporting.blocks import Block, Cell
from megalabel.reporting.bootstrap import interval, resampled_sums
from megalabel.reporting.drawing import BLUE, GRAY, ORANGE
from megalabel.reporting.subject import Subject
from megalabel.reporting.words import listed

METRICS = ("P@1", "P@5", "nDCG@5", "R@5", "PSP@5")


class PerText(NamedTuple):
    """Metrics as ratios of sums over the texts.

    names: the metrics.
    over, under: (N, m) float64; a metric is the sum of its column of `over`, divided by that of `under`.
    """

    names: list[str]
    over: np.ndarray
    under: np.ndarray


def per_text(subject: Subject) -> PerText:
    """The numbers of each text behind the metrics at depth k (5, or as many labels as were ranked)."""
    k, hit = subject.first, subject.hit[:, : subject.first]
    discounts = 1 / np.log2(np.arange(2, k + 2))
    ideal = np.concatenate([[1.0], np.cumsum(discounts)])[np.minimum(subject.truth.n_true, k)]
    n_true = np.maximum(subject.truth.n_true, 1)
    over = [hit[:, 0], hit.sum(axis=1) / k, (hit * discounts).sum(axis=1) / ideal, hit.sum(axis=1) / n_true]
    under = [np.ones(len(subject))] * len(over)
    names = ["P@1", f"P@{k}", f"nDCG@{k}", f"R@{k}"]
    if subject.gains is not None:
        ids = np.where(hit, subject.ids[:, :k], 0)
        over.append(np.where(hit, subject.gains[ids], 0.0).sum(axis=1) / k)
        under.append(best_gains(subject.labels, subject.gains, k).sum(axis=1) / k)
        names.append(f"PSP@{k}")
    return PerText(names, np.stack(over, axis=1).astype(np.float64), np.stack(under, axis=1))


class Metric(NamedTuple):
    """A metric in percent with its 95% interval."""

    name: str
    value: float
    low: float
    high: float


def with_intervals(subject: Subject) -> list[Metric]:
    """The metrics of one model."""
    values = per_text(subject)
    m = len(values.names)
    sums = resampled_sums(np.concatenate([values.over, values.under], axis=1))
    samples = 100 * sums[:, :m] / np.maximum(sums[:, m:], 1e-12)
    reached = 100 * values.over.sum(axis=0) / values.under.sum(axis=0)
    return [Metric(name, float(reached[i]), *interval(samples[:, i])) for i, name in enumerate(values.names)]


def differences(subjects: Sequence[Subject]) -> list[tuple[str, list[Metric]]]:
    """For each model but the first, the differences of its metrics to those of the first, in points.

    Raises:
        DataError: the models did not rank the same texts.
    """
    first = subjects[0]
    for other in subjects[1:]:
        if len(other) != len(first) or not np.array_equal(other.truth.n_true, first.truth.n_true):
            raise DataError(
                f"{other.title} was measured on {len(other):,} texts, {first.title} on {len(first):,} others",
                wanted="the same texts for all runs",
                next_step="name the data set by --data",
            )
    each = [per_text(subject) for subject in subjects]
    names = [name for name in each[0].names if all(name in values.names for values in each)]
    parts = []
    for values in each:
        at = [values.names.index(name) for name in names]
        parts += [values.over[:, at], values.under[:, at]]
    m, sums = len(names), resampled_sums(np.concatenate(parts, axis=1))
    total = np.concatenate(parts, axis=1).sum(axis=0)

    def of(i: int, these: np.ndarray) -> Any:
        over, under = these[..., 2 * i * m : (2 * i + 1) * m], these[..., (2 * i + 1) * m : (2 * i + 2) * m]
        return 100 * over / np.maximum(under, 1e-12)

    found = []
    for i, subject in enumerate(subjects[1:], 1):
        samples, reached = of(i, sums) - of(0, sums), of(i, total) - of(0, total)
        metrics = [Metric(name, float(reached[j]), *interval(samples[:, j])) for j, name in enumerate(names)]
        found.append((subject.title, metrics))
    return found


def comparison_block(subjects: Sequence[Subject]) -> Block:
    """The differences as a figure, and which of them are clear."""
    first, found = subjects[0], differences(subjects)
    rows: list[list[Cell]] = [[title, m.name, m.value, m.low, m.high] for title, metrics in found for m in metrics]
    return Block(
        "comparison", f"Differences to {first.title}", _finding(first, found),
        ("run", "metric", "difference", "low", "high"), rows,
        about="Points of each metric, with 95% intervals of a paired bootstrap over the texts. A difference whose "
        "interval leaves out 0 is clear.",
        draw=lambda *axes: _draw(axes, found), axes=(1, len(found[0][1])), height=0.9 + 0.32 * len(found),
    )  # fmt: skip


def _finding(first: Subject, found: Sequence[tuple[str, list[Metric]]]) -> str:
    sentences = []
    for title, metrics in found:
        better = [m.name for m in metrics if m.low > 0]
        worse = [m.name for m in metrics if m.high < 0]
        parts = [f"better in {listed(better)}"] if better else []
        parts += [f"worse in {listed(worse)}"] if worse else []
        clear = " and ".join(parts) if parts else "not clearly different"
        sentences.append(f"{title} is {clear} (P@1 {metrics[0].value:+.1f} points).")
    return " ".join(sentences)


def _draw(axes: Sequence[Any], found: Sequence[tuple[str, list[Metric]]]) -> None:
    at = np.arange(len(found))
    for j, axis in enumerate(axes):
        metrics = [row[j] for _, row in found]
        axis.axvline(0, color=GRAY, linewidth=1)
        for y, m in zip(at, metrics, strict=True):
            clear = m.low > 0 or m.high < 0
            axis.plot([m.low, m.high], [y, y], color=BLUE if clear else ORANGE)
            axis.plot([m.value], [y], "o", color=BLUE if clear else ORANGE)
        axis.set_title(metrics[0].name)
        axis.set_ylim(len(found) - 0.5, -0.5)
        axis.grid(axis="y", visible=False)
        axis.grid(axis="x")
        axis.tick_params(axis="y", length=0)
        axis.set_yticks(at, [title for title, _ in found] if j == 0 else [""] * len(found))
        axis.margins(x=0.15)
