"""Label pairs that are confused: a true label that is missed where the other one is predicted and wrong."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from megalabel.display import counted, cut
from megalabel.reporting.blocks import Block, Cell
from megalabel.reporting.subject import Subject
from megalabel.reporting.words import LONGEST_NAME, LONGEST_TEXT, percent, quoted

SHOWN = 15
LISTED = 500  # pairs in the CSV


class Confusions(NamedTuple):
    """Unordered pairs of labels a < b, most confused first; arrays (m,).

    a, b: the labels.
    for_b: the texts of b that got a in its place, and `for_a` those of a that got b.
    example: a text of the more frequent direction.
    """

    a: np.ndarray
    b: np.ndarray
    for_b: np.ndarray
    for_a: np.ndarray
    example: np.ndarray


def confused(subject: Subject) -> Confusions:
    """Counts the pairs over all texts.

    A text with n true labels counts the first min(n, k) labels of its ranking as its answer. Each wrong label of
    the answer makes a pair with each true label that is not in it.
    """
    labels, n, k = subject.labels, len(subject), subject.first
    size = np.minimum(np.maximum(np.diff(labels.indptr), 1), k)
    inside = np.arange(k)[None, :] < size[:, None]
    wrong = inside & ~subject.hit[:, :k] & (subject.ids[:, :k] >= 0)
    missed = subject.pair_ranks >= size[subject.pair_rows]
    n_missed = np.bincount(subject.pair_rows[missed], minlength=n)
    rows, columns = np.nonzero(wrong)
    given = subject.ids[rows, columns]
    # Each wrong label, once for each missed label of its text: positions within the missed labels of all texts.
    times = n_missed[rows]
    starts = np.concatenate([[0], np.cumsum(n_missed)])[rows]
    offsets = np.arange(times.sum()) - np.repeat(np.cumsum(times) - times, times)
    true = labels.indices[missed][np.repeat(starts, times) + offsets].astype(np.int64)
    got, text = np.repeat(given, times), np.repeat(rows, times)
    low, high = np.minimum(true, got), np.maximum(true, got)
    keys, first, inverse = np.unique(low * labels.shape[1] + high, return_index=True, return_inverse=True)
    for_b = np.bincount(inverse, true == high, len(keys)).astype(np.int64)
    total = np.bincount(inverse, minlength=len(keys))
    for_a = total - for_b
    # The example shows the more frequent direction.
    usual = np.where(for_b[inverse] >= for_a[inverse], true == high, true == low)
    first = np.full(len(keys), -1)
    first[inverse[usual][::-1]] = text[usual][::-1]
    order = np.lexsort((keys, -total))
    return Confusions(
        (keys // labels.shape[1])[order], (keys % labels.shape[1])[order], for_b[order], for_a[order], first[order]
    )


def confusions_block(subject: Subject) -> Block | None:
    """The most confused pairs as a table; None where no pair is confused twice."""
    found = confused(subject)
    total = found.for_a + found.for_b
    if not len(total) or total[0] < 2:
        return None
    pairs = None if subject.trained_on is None else subject.trained_on.pairs
    rows: list[list[Cell]] = []
    for i in range(min(LISTED, int((total >= 2).sum()))):
        a, b = int(found.a[i]), int(found.b[i])
        n_true, n_given = int(found.for_b[i]), int(found.for_a[i])
        true, given = b, a
        if n_given > n_true:
            true, given, n_true, n_given = a, b, n_given, n_true
        together = None if pairs is None else int(pairs[true, given])
        names = [cut(subject.name(label), LONGEST_NAME) for label in (true, given)]
        rows.append([*names, n_true, n_given, together, cut(subject.text(int(found.example[i])), LONGEST_TEXT)])
    columns = ("true label", "given in its place", "texts", "the other way", "together in training", "example")
    shown = [name for name in columns if name != "together in training" or pairs is not None]
    if not len(subject.split.texts):
        shown.remove("example")
    return Block(
        "confusions", "Confusable label pairs", _finding(subject, found, rows), columns, rows,
        about="A text with n true labels counts its first n labels (at most "
        f"{subject.first}) as the answer; each wrong one of them is paired with each true label that is missing.",
        shown=shown, limit=SHOWN,
    )  # fmt: skip


def _finding(subject: Subject, found: Confusions, rows: list[list[Cell]]) -> str:
    total = found.for_a + found.for_b
    share = float(total[:SHOWN].sum() / total.sum())
    true, given, n = str(rows[0][0]), str(rows[0][1]), int(total[0])
    text = (
        f"The most confused pair is {quoted(true)} and {quoted(given)} ({counted(n, 'text')}); the first {SHOWN} "
        f"pairs make up {percent(share)} of all {int(total.sum()):,} confusions"
    )
    names = [(set(str(row[0]).lower().split()), set(str(row[1]).lower().split())) for row in rows]
    shared = sum(bool(a & b) for a, b in names) / len(names)
    often = [row for row in rows[:SHOWN] if isinstance(row[4], int) and row[4] > 0]
    text += f". {percent(shared, 0)} of the pairs that occur twice or more share a word"
    if rows[0][4] is not None:
        n = min(SHOWN, len(rows))
        text += (
            f", and {len(often) or 'none'} of the first {n} occur{'' if often else 's'} together in training texts"
        )
    return text + "."
