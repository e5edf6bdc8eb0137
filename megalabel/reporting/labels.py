"""The labels that a model finds best and worst, with a text of each."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from megalabel.display import cut
from megalabel.reporting.blocks import Block, Cell
from megalabel.reporting.bootstrap import wilson
from megalabel.reporting.subject import Subject
from megalabel.reporting.words import LONGEST_NAME, LONGEST_TEXT, listed, percent, quoted

SHOWN = 12
LISTED = 500  # labels in each CSV
FEWEST = 3  # true texts of a label that is listed


class PerLabel(NamedTuple):
    """How often each label is true, found and predicted, arrays (L,)."""

    true: np.ndarray
    found: np.ndarray
    predicted: np.ndarray


def per_label(subject: Subject) -> PerLabel:
    """Counts over the pairs that are judged; a label is predicted where it is within the `reach` of a text."""
    n_labels, judged = subject.labels.shape[1], subject.judged
    labels = subject.labels.indices
    inside = (np.arange(subject.ids.shape[1])[None, :] < subject.reach[:, None]) & (subject.ids >= 0)
    return PerLabel(
        np.bincount(labels[judged], minlength=n_labels),
        np.bincount(labels[judged & ~subject.missed], minlength=n_labels),
        np.bincount(subject.ids[inside], minlength=n_labels),
    )


def labels_blocks(subject: Subject) -> list[Block]:
    """The worst and the best labels as two tables; none where no label is true for three texts."""
    found = per_label(subject)
    low, high = wilson(found.found, found.true)
    listed_labels = np.flatnonzero(found.true >= FEWEST)
    if not len(listed_labels):
        return []
    worst = listed_labels[np.lexsort((listed_labels, -found.true[listed_labels], high[listed_labels]))]
    best = listed_labels[np.lexsort((listed_labels, -found.true[listed_labels], -low[listed_labels]))]
    worst = worst[found.found[worst] < found.true[worst]]
    best = best[found.found[best] > 0]
    about = (
        "Sorted by a 95% bound of the share of texts with the label that have it among their first "
        f"{subject.first} labels (or as many as the text has, if more); labels of {FEWEST} texts or more."
    )
    blocks = []
    if len(worst):
        blocks.append(_block(subject, found, worst, "worst-labels", "Worst labels", about, missed=True))
    if len(best):
        blocks.append(_block(subject, found, best, "best-labels", "Best labels", "", missed=False))
    return blocks


def _block(
    subject: Subject, found: PerLabel, order: np.ndarray, name: str, title: str, about: str, *, missed: bool
) -> Block:
    example = "a text where it is missed" if missed else "a text where it is found"
    columns = ("label", "training texts", "texts", "found", "found %", "predicted", example, "first labels there")
    rows, used = [], set[int]()
    for label in order[:LISTED].tolist():
        n, right = int(found.true[label]), int(found.found[label])
        row = _example(subject, label, used, found=not missed)
        first = [subject.name(int(i)) for i in subject.ids[row][:3] if i >= 0]
        cells: list[Cell] = [
            cut(subject.name(label), LONGEST_NAME), subject.count(label), n, right, 100 * right / n,
            int(found.predicted[label]), cut(subject.text(row), LONGEST_TEXT),
            ", ".join(cut(name, 30) for name in first),
        ]  # fmt: skip
        rows.append(cells)
    shown = [column for column in columns if column != "found %"]
    if subject.trained_on is None:
        shown.remove("training texts")
    if not len(subject.split.texts):
        shown.remove(example)
    return Block(
        name, title, _finding(subject, found, order, missed), columns, rows, about=about, shown=shown, limit=SHOWN
    )


def _example(subject: Subject, label: int, used: set[int], *, found: bool) -> int:
    """The first text in which a label is found, or missed; one that is no example yet, if there is one."""
    there = np.flatnonzero((subject.labels.indices == label) & subject.judged & (subject.missed != found))
    rows = subject.pair_rows[there].tolist()
    row: int = next((row for row in rows if row not in used), rows[0])
    used.add(row)
    return row


def _finding(subject: Subject, found: PerLabel, order: np.ndarray, missed: bool) -> str:
    names = listed([quoted(subject.name(int(i))) for i in order[:3]])
    n, right = int(found.true[order[:SHOWN]].sum()), int(found.found[order[:SHOWN]].sum())
    if not missed:
        return f"{names} are found most reliably; the labels shown are found in {right:,} of their {n:,} texts."
    several = found.true >= FEWEST
    never = several & (found.found == 0)
    return (
        f"{names} are found least; the labels shown are found in {right:,} of their {n:,} texts. "
        f"{percent(float(never.sum() / several.sum()))} of the labels with {FEWEST} texts or more are never found."
    )
