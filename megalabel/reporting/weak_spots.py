"""The weakest spots of a model: groups of true labels of which it misses the most beyond the average.

A group is chosen by how many more of its true labels are missed than at the average rate, which is its weighted
relative accuracy times the number of pairs (Lavrač, Flach and Zupan, "Rule Evaluation Measures", ILP 1999).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from megalabel.reporting.attributes import attributes_of, sources_of
from megalabel.reporting.blocks import Block
from megalabel.reporting.drawing import BLUE, GRAY, ORANGE, percent_axis
from megalabel.reporting.subject import Subject
from megalabel.reporting.words import percent

SHOWN = 3  # weakest spots
EDGES = 20  # values of an attribute that bound groups
LARGEST = 0.5  # share of all pairs above which a group says little
LEAST = 0.01  # share of all misses that a weak spot has beyond the average
SURE = 2.0  # standard errors by which the excess must differ from 0
OVERLAP = 0.6  # share of the misses of a spot that others may have named


class Group(NamedTuple):
    """Some of the P pairs of a text and a true label.

    kind, title: what the group is formed by, and what it is in words.
    inside: (P,) bool.
    n, missed: its pairs, and those of them that are missed; missed_rest: the share missed of the other pairs.
    excess: the misses beyond those at the average rate. error: its standard error, over texts.
    """

    kind: str
    title: str
    inside: np.ndarray
    n: int
    missed: int
    missed_rest: float
    excess: float
    error: float

    @property
    def rate(self) -> float:
        """The share of its pairs that is missed."""
        return self.missed / self.n


def worst_groups(subject: Subject) -> list[Group]:
    """For each kind of group the one with the most misses beyond the average, the largest excess first."""
    best: dict[str, Group] = {}
    for kind, title, inside in _candidates(subject):
        group = _measured(subject, kind, title, inside)
        if group is not None and (kind not in best or group.excess > best[kind].excess):
            best[kind] = group
    return sorted(best.values(), key=lambda group: (-group.excess, group.kind))


def weakest(groups: list[Group], n_missed: int) -> list[Group]:
    """The first groups that are sure, large enough, and mostly not what earlier ones have named."""
    chosen: list[Group] = []
    named = np.zeros(len(groups[0].inside) if groups else 0, np.bool_)
    for group in groups:
        again = (group.inside & named).sum() / group.n
        sure = group.excess > max(SURE * group.error, LEAST * n_missed)
        if sure and again <= OVERLAP and len(chosen) < SHOWN:
            chosen.append(group)
            named |= group.inside
    return chosen


def sentence(group: Group, subject: Subject) -> str:
    """What is weak, in numbers."""
    n_missed = int((~subject.found).sum())
    title = group.title[:1].upper() + group.title[1:]
    return (
        f"{title}: {percent(group.rate)} of their {group.n:,} true labels are missed, against "
        f"{percent(group.missed_rest)} of the others. They hold {percent(group.n / len(subject.found))} of the true "
        f"labels and {percent(group.missed / max(n_missed, 1))} of the misses."
    )


def weak_spots_block(subject: Subject, groups: list[Group]) -> Block | None:
    """The worst group of each kind as a figure; None without groups."""
    if not groups:
        return None
    overall = float((~subject.found).mean())
    rows = [
        [g.kind, g.title, g.n, g.missed, 100 * g.rate, 100 * g.missed_rest, g.excess, g.error] for g in groups
    ]
    top = groups[0]
    return Block(
        "weak-spots", "Missed labels of the weakest group of each kind",
        f"Of all true labels, {percent(overall)} are missed; of those of {top.title}, {percent(top.rate)}.",
        ("kind", "group", "true labels", "missed", "missed %", "missed % of the others", "excess", "standard error"),
        rows,
        about="A true label is missed if it is not among the first "
        f"{subject.first} labels of its text, or as many as the text has true labels, if more (at most "
        f"{subject.ids.shape[1]}). For each kind, the figure has the group with the most misses beyond the average.",
        draw=lambda axis: _draw(axis, groups, overall), height=0.8 + 0.42 * len(groups),
    )  # fmt: skip


def _draw(axis: Any, groups: list[Group], overall: float) -> None:
    at = np.arange(len(groups))
    axis.axvline(overall, color=GRAY, linestyle="--", linewidth=1, label="all true labels")
    for y, group in zip(at, groups, strict=True):
        axis.plot([group.missed_rest, group.rate], [y, y], color=GRAY, linewidth=1)
    axis.plot([group.missed_rest for group in groups], at, "o", color=BLUE, label="the other true labels")
    axis.plot([group.rate for group in groups], at, "D", color=ORANGE, label="the group")
    axis.set_yticks(at, [f"{group.title}\n({group.n:,} true labels)" for group in groups], fontsize=8)
    axis.set_ylim(len(groups) - 0.5, -0.5)
    axis.set_xlim(0, 1)
    axis.grid(axis="x")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.set_xlabel("share of the true labels that is missed")
    axis.legend(loc="lower right")
    percent_axis(axis, "x")


def _candidates(subject: Subject) -> Iterator[tuple[str, str, np.ndarray]]:
    """Groups of pairs: their kind, what they are in words, and (P,) bool."""
    for kind, values, low, high in attributes_of(subject):
        edges = np.unique(np.quantile(values, np.linspace(0, 1, EDGES + 1), method="nearest")).tolist()
        for edge in edges:
            if low is not None:
                yield kind, low(int(edge)), values <= edge
            if high is not None:
                yield kind, high(int(edge)), values >= edge
    for title, inside in sources_of(subject):
        yield "source", title, inside


def _measured(subject: Subject, kind: str, title: str, inside: np.ndarray) -> Group | None:
    """The misses of a group; None for one that is empty, or too large to say much."""
    n, missed = int(inside.sum()), ~subject.found
    if n == 0 or n > LARGEST * len(inside):
        return None
    average, k = float(missed.mean()), int(missed[inside].sum())
    beyond = np.where(inside, missed - average, 0.0)
    per_text = np.bincount(subject.pair_rows, beyond, len(subject))
    error = float(np.sqrt(np.square(per_text).sum()))
    rest = (int(missed.sum()) - k) / (len(inside) - n)
    return Group(kind, title, inside, n, k, rest, k - average * n, error)
