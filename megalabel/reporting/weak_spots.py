"""The weakest spots of a model: groups of true labels of which it misses the most beyond the average.

A group is chosen by how many more of its true labels are missed than at the average rate, which is its weighted
relative accuracy times the number of pairs (Lavrač, Flach and Zupan, "Rule Evaluation Measures", ILP 1999).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from megalabel.display import counted
from megalabel.reporting.attributes import Candidate, candidates
from megalabel.reporting.blocks import Block, Cell
from megalabel.reporting.drawing import BLUE, GRAY, ORANGE, percent_axis
from megalabel.reporting.subject import Subject
from megalabel.reporting.words import percent

SHOWN = 3  # weakest spots
LARGEST = 0.5  # share of all pairs above which a group that was found among several says little
LEAST = 0.005  # share of all misses that a weak spot has beyond what is expected
SURE = 0.05  # probability, over all groups of a kind, of a weak spot where there is none


@dataclass(frozen=True, eq=False)
class Group:
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
    for candidate in candidates(subject):
        group, kind = _measured(subject, candidate), candidate.kind
        if group is not None and (kind not in best or group.excess > best[kind].excess):
            best[kind] = group
    return sorted(best.values(), key=lambda group: (-group.excess, group.kind))


def weakest(groups: list[Group], subject: Subject) -> list[Group]:
    """Up to three groups, each weak for more reasons than those before it.

    The first has the largest excess. Each next one has the largest excess beyond the rates at which the true
    labels inside and outside of the groups before it are missed.
    """
    judged, missed = subject.judged, subject.missed
    chosen: list[Group] = []
    stratum = np.zeros(len(missed), np.int64)
    while len(chosen) < SHOWN:
        n = np.bincount(stratum[judged])
        rates = np.bincount(stratum[judged], missed[judged], len(n)) / np.maximum(n, 1)
        beyond = missed - rates[stratum]
        rest = [group for group in groups if group not in chosen]
        best = max(rest, key=lambda group: float(beyond[group.inside].sum()), default=None)
        if best is None or beyond[best.inside].sum() <= LEAST * missed.sum():
            break
        chosen.append(best)
        stratum = 2 * stratum + best.inside
    return chosen


def sentence(group: Group, subject: Subject) -> str:
    """What is weak, in numbers."""
    n, n_missed = int(subject.judged.sum()), int(subject.missed.sum())
    title = group.title[:1].upper() + group.title[1:]
    return (
        f"{title}: {percent(group.rate)} of {group.n:,} true labels are missed, against "
        f"{percent(group.missed_rest)} of all others. This group has {percent(group.n / n)} of the true labels "
        f"and {percent(group.missed / max(n_missed, 1))} of the misses."
    )


def weak_spots_block(subject: Subject, groups: list[Group]) -> Block | None:
    """The worst group of each kind as a figure; None without groups."""
    if not groups:
        return None
    overall = float(subject.missed.sum() / subject.judged.sum())
    rows: list[list[Cell]] = [
        [g.kind, g.title, g.n, g.missed, 100 * g.rate, 100 * g.missed_rest, g.excess, g.error] for g in groups
    ]
    top = groups[0]
    return Block(
        "weak-spots", "Missed labels of the weakest group of each kind",
        f"Of all true labels, {percent(overall)} are missed; the most misses beyond that rate are those of "
        f"{top.title} ({percent(top.rate)}).",
        ("kind", "group", "true labels", "missed", "missed %", "missed % of others", "excess", "standard error"),
        rows,
        about="A true label is missed if it is not among the first "
        f"{subject.first} labels of its text, or as many as the text has true labels, if more"
        f"{_left_out(subject)}. For each kind of group, the figure has the one with the most misses beyond the "
        "average.",
        draw=lambda axis: _draw(axis, groups, overall), height=0.8 + 0.42 * len(groups),
    )  # fmt: skip


def _left_out(subject: Subject) -> str:
    n = len(np.unique(subject.pair_rows[~subject.judged]))
    k = subject.ids.shape[1]
    return f"; the {counted(n, 'text')} with more than {k} true labels are left out" if n else ""


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
    axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=3)
    percent_axis(axis, "x")


def _measured(subject: Subject, candidate: Candidate) -> Group | None:
    """The misses of a group; None for one that is too large to say much, or not clearly weaker than the others."""
    judged, missed = subject.judged, subject.missed
    inside = candidate.inside & judged
    n, total = int(inside.sum()), int(judged.sum())
    if not 0 < n < total or (candidate.tried > 1 and n > LARGEST * total):
        return None
    average, k = float(missed.sum() / total), int(missed[inside].sum())
    beyond = np.where(inside, missed - average, 0.0)
    error = float(np.sqrt(np.square(np.bincount(subject.pair_rows, beyond, len(subject))).sum()))
    excess = k - average * n
    if excess <= error * NormalDist().inv_cdf(1 - SURE / candidate.tried):
        return None
    rest = (int(missed.sum()) - k) / (total - n)
    return Group(candidate.kind, candidate.title, inside, n, k, rest, excess, error)
