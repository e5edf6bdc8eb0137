"""How much the levels of a cascade lose: the recall of their shortlists, and their precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from megalabel.errors import MegalabelError
from megalabel.inference.levels import LevelMetrics, evaluate_levels, levels_of
from megalabel.reporting.blocks import Block
from megalabel.reporting.drawing import BLUE, GRAY, ORANGE, name_ticks, percent_axis
from megalabel.reporting.ranking import sample_of
from megalabel.reporting.subject import Subject
from megalabel.reporting.words import percent

MOST_TEXTS = 4096  # that are encoded once more


def levels_block(subject: Subject) -> Block | None:
    """The levels of a cascade; None for other models, and where labels are not those of training."""
    if subject.model is None:
        return None
    try:
        levels_of(subject.model)
        split = sample_of(subject.split, MOST_TEXTS)
        levels = evaluate_levels(subject.model, replace(subject.data, test=split), k=(1, 5))
    except MegalabelError:
        return None
    names = [*(f"clusters {i}" for i in range(len(levels) - 1)), "labels"]
    rows = [
        [name, level.nodes, None if np.isnan(level.recall) else level.recall,
         *(level.alone[m] for m in ("P@1", "P@5")), *(level.with_parent.get(m) for m in ("P@1", "P@5"))]
        for name, level in zip(names, levels, strict=True)
    ]  # fmt: skip
    columns = ("level", "nodes", "shortlist recall", "P@1", "P@5", "P@1 × parent", "P@5 × parent")
    return Block(
        "levels", "Shortlist recall and precision by level", _finding(levels), columns, rows,
        about="A level passes on its best clusters; a true label below another cluster cannot be predicted any "
        "more. A cluster is right if the text has one of its labels.",
        draw=lambda *axes: _draw(axes, names, levels), axes=(1, 2), height=2.6,
    )  # fmt: skip


def _finding(levels: Sequence[LevelMetrics]) -> str:
    recalls = [level.recall for level in levels[:-1]]
    worst = int(np.argmin(recalls))
    gain = levels[-1].with_parent.get("P@1", 0.0) - levels[-1].alone["P@1"]
    lost = percent(1 - recalls[worst] / 100)
    text = f"The shortlist of level {worst} lacks {lost} of the true clusters"
    text += ", the most of all levels." if len(recalls) > 1 else "."
    word = "raise" if gain >= 0 else "lower"
    return f"{text} The probabilities of parents {word} P@1 of the labels by {abs(gain):.1f} points."


def _draw(axes: Any, names: list[str], levels: Sequence[LevelMetrics]) -> None:
    recall, precision = axes
    at = np.arange(len(levels) - 1)
    shares = np.array([level.recall for level in levels[:-1]]) / 100
    recall.bar(at, shares, 0.5, color=BLUE)
    for x, share in zip(at, shares, strict=True):
        recall.text(x, share, percent(share), ha="center", va="bottom", fontsize=8.5)
    recall.set_ylim(0, 1.12)
    recall.set_xlim(-0.8, max(len(at) - 1, 1) + 0.8)
    recall.set_title("Recall of the shortlists")
    name_ticks(recall, names[:-1])
    percent_axis(recall)
    at = np.arange(len(levels))
    precision.bar(at - 0.2, [level.alone["P@1"] for level in levels], 0.4, color=GRAY, label="alone")
    both = [level.with_parent.get("P@1", level.alone["P@1"]) for level in levels]
    precision.bar(at + 0.2, both, 0.4, color=ORANGE, label="× parent")
    precision.set_title("P@1 of each level, %")
    precision.set_xlim(-0.8, len(at) - 0.2)
    precision.margins(y=0.28)
    precision.legend(loc="upper right", ncols=2)
    name_ticks(precision, names)
