"""Metrics by how often labels occur in training: deciles that each hold about a tenth of the training pairs."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from megalabel.reporting.blocks import Block
from megalabel.reporting.drawing import BLUE, GRAY, ORANGE, name_ticks, percent_axis
from megalabel.reporting.subject import DEPTHS, Subject
from megalabel.reporting.words import percent

DECILES = 10
FEWEST = 30  # true labels of a decile that a sentence compares


class Deciles(NamedTuple):
    """Labels by their frequency in training, rarest first.

    names: what the figures call each group, such as "1" or "7–12", the numbers of training texts.
    low, high: (d,) the least and the largest number of training texts of a label.
    of_label: (L,) int64, the group of each label.
    """

    names: list[str]
    low: np.ndarray
    high: np.ndarray
    of_label: np.ndarray


def deciles(counts: np.ndarray) -> Deciles:
    """Groups labels so that each group has about a tenth of all training pairs; equal counts stay together.

    There may be fewer than ten groups. Labels without training texts are a group of their own. Groups of equal
    volume are those of Siamese XML and NGAME (Dahiya et al., ICML 2021 and WSDM 2023).

    Args:
        counts: (L,) the number of training texts with each label.
    """
    values, at, n = np.unique(counts, return_inverse=True, return_counts=True)
    volume = (values * n).astype(np.float64)
    middle = np.cumsum(volume) - volume / 2
    group = np.minimum((DECILES * middle / max(volume.sum(), 1)).astype(np.int64), DECILES - 1)
    group = np.where(values == 0, -1, group)
    _, group = np.unique(group, return_inverse=True)
    low = np.array([values[group == i].min() for i in range(group.max() + 1)])
    high = np.array([values[group == i].max() for i in range(group.max() + 1)])
    names = [f"{a:,}" if a == b else f"{a:,}–{b:,}" for a, b in zip(low, high, strict=True)]
    return Deciles(names, low, high, group[at])


class ByDecile(NamedTuple):
    """Sums over the texts at one depth k, arrays (d,).

    predicted, right: the labels among the first k of each text, and those of them that are true.
    true, found: the true labels, and those of them among the first k.
    best: the true labels among the first k of a perfect ranking, on average over the orders of true labels.
    gain, best_gain: the sums of inverse propensities of `right`, and of the first k of a perfect ranking with rare
        labels first, by which PSP@k is defined; zeros without propensities.
    """

    predicted: np.ndarray
    right: np.ndarray
    true: np.ndarray
    best: np.ndarray
    gain: np.ndarray
    best_gain: np.ndarray


def measured(subject: Subject, groups: Deciles, k: int) -> ByDecile:
    """The sums behind P@k, PSP@k and recall of each decile."""
    ids, hit, labels = subject.ids[:, :k], subject.hit[:, :k], subject.labels
    n_true = np.diff(labels.indptr)[subject.pair_rows]
    right, d = ids[hit], len(groups.names)

    def sums(of: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
        return np.bincount(groups.of_label[of], weights, minlength=d)

    gain = best_gain = np.zeros(d)
    if subject.gains is not None:
        order = np.lexsort((-subject.gains[labels.indices], subject.pair_rows))
        position = np.arange(labels.nnz) - np.repeat(labels.indptr[:-1], np.diff(labels.indptr))
        rare = labels.indices[order][position < k]
        gain, best_gain = (sums(part, subject.gains[part]) for part in (right, rare))
    return ByDecile(
        sums(ids[ids >= 0]), sums(right), sums(labels.indices),
        sums(labels.indices, np.minimum(k, n_true) / n_true), gain, best_gain,
    )  # fmt: skip


def frequency_block(subject: Subject) -> Block | None:
    """P@k, PSP@k, precision and recall by decile; None where training frequencies are not known."""
    if subject.trained_on is None:
        return None
    groups = deciles(subject.trained_on.counts)
    if len(groups.names) < 2:
        return None
    k, n = subject.first, len(subject)
    found = measured(subject, groups, k)
    rows: list[list[Any]] = []
    for depth in [d for d in DEPTHS if d <= subject.ids.shape[1]]:
        part = measured(subject, groups, depth)
        for i, name in enumerate(groups.names):
            psp = 100 / part.best_gain.sum() if part.best_gain.sum() else 0.0
            rows.append([
                depth, name, int((groups.of_label == i).sum()), int(part.true[i]), int(part.predicted[i]),
                100 * part.right[i] / (n * depth), 100 * part.best[i] / (n * depth),
                psp * part.gain[i] if psp else None, psp * part.best_gain[i] if psp else None,
                100 * part.right[i] / part.predicted[i] if part.predicted[i] else None,
                100 * part.right[i] / part.true[i] if part.true[i] else None,
            ])  # fmt: skip
    columns = (
        "k", "training texts", "labels", "true", "predicted", "points of P@k", "at best", "points of PSP@k",
        "PSP at best", "precision", "recall",
    )  # fmt: skip
    return Block(
        "frequency", f"P@{k}, PSP@{k}, precision and recall by label frequency",
        _finding(subject, groups, found, k), columns, rows,
        about="Labels are sorted by their number of training texts into groups with about a tenth of the training "
        f"pairs each. The dark bars add up to P@{k} and PSP@{k}; light bars show what a perfect ranking reaches.",
        draw=lambda *axes: _draw(axes, subject, groups, found, k), axes=(2, 2), height=4.9,
    )  # fmt: skip


def _finding(subject: Subject, groups: Deciles, found: ByDecile, k: int) -> str:
    """Compares the deciles with the lowest and the highest recall, among those with enough true labels."""
    recall = np.where(found.true >= FEWEST, found.right / np.maximum(found.true, 1), np.nan)
    if np.isfinite(recall).sum() < 2:
        return f"Too few true labels to compare frequencies: {int(found.true.sum()):,}."
    low, high = int(np.nanargmin(recall)), int(np.nanargmax(recall))
    share, true = (groups.of_label == low).mean(), found.true[low] / found.true.sum()
    return (
        f"Of the true labels with {groups.names[low]} training texts, {percent(recall[low])} are among the first "
        f"{k}, the least of all groups; of those with {groups.names[high]}, {percent(recall[high])}, the most. "
        f"The weakest group has {percent(share)} of all labels and {percent(true)} of the true labels."
    )


def _draw(axes: Any, subject: Subject, groups: Deciles, found: ByDecile, k: int) -> None:
    at, n = np.arange(len(groups.names)), len(subject)
    precision, psp, shares, calls = axes
    total = found.best_gain.sum()
    pairs = [(precision, f"P@{k}, percentage points", found.best / (n * k), found.right / (n * k))]
    if total:
        pairs.append((psp, f"PSP@{k}, percentage points", found.best_gain / total, found.gain / total))
    else:
        psp.remove()
    for axis, title, best, reached in pairs:
        axis.bar(at, 100 * best, 0.75, color=GRAY, label="perfect ranking")
        axis.bar(at, 100 * reached, 0.75, color=BLUE, label="reached")
        axis.set_title(title)
        axis.margins(y=0.28)  # room for the legend
        axis.legend(loc="upper right", ncols=2)
    shares.plot(at, found.right / np.maximum(found.true, 1), "o-", color=BLUE, label=f"recall@{k}")
    there = found.predicted > 0
    values = found.right[there] / found.predicted[there]
    shares.plot(at[there], values, "s--", color=ORANGE, label="precision")
    shares.set_ylim(0, 1)
    shares.set_title("Recall, and precision of the labels predicted")
    shares.legend(ncols=2)
    percent_axis(shares)
    calls.bar(at - 0.2, found.true, 0.4, color=GRAY, label="true labels")
    calls.bar(at + 0.2, found.predicted, 0.4, color=ORANGE, label="predicted labels")
    calls.set_title(f"True labels, and labels among the first {k}")
    calls.margins(y=0.28)
    calls.legend(ncols=2, loc="upper right")
    for axis in [axis for axis, *_ in pairs] + [shares, calls]:
        name_ticks(axis, groups.names, tilt=True)
    for axis in (shares, calls):
        axis.set_xlabel("training texts per label")
