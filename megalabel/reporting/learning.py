"""Learning curves from the log of a run: training loss, validation metrics, and recall of shortlists."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from megalabel.reporting.blocks import Block, Cell
from megalabel.reporting.drawing import BLUE, GRAY, GREEN, ORANGE
from megalabel.reporting.subject import Subject

POINTS = 300  # of a curve
STILL = 0.2  # points of the metric by which the last validations must differ to be called rising or falling


def learning_block(subject: Subject) -> Block | None:
    """The curves of a run; None without a log of at least two points."""
    losses = [line for line in subject.log if isinstance(line.get("loss"), (int, float))]
    checks = [line for line in subject.log if isinstance(line.get("validation"), dict)]
    if len(losses) < 2 and len(checks) < 2:
        return None
    losses = [losses[i] for i in np.unique(np.linspace(0, len(losses) - 1, POINTS).astype(int))] if losses else []
    metric = str(subject.facts.get("arguments", {}).get("selection_metric", "nDCG@5"))
    shown = list(dict.fromkeys(["P@1", "nDCG@5", metric]))
    shown = [name for name in shown if any(name in line["validation"] for line in checks)]
    recalls = sorted({name for line in losses for name in line if name.startswith("recall")})
    rows: list[list[Cell]] = [
        [line["step"], float(line["epoch"]), line.get("loss")]
        + [line.get("validation", {}).get(name) for name in shown]
        + [line.get(name) for name in recalls]
        for line in sorted([*losses, *checks], key=lambda line: float(line["step"]))
    ]
    panels = [name for name, there in (("loss", losses), ("checks", checks), ("recalls", recalls)) if there]

    def draw(*axes: Any) -> None:
        best = subject.facts.get("best_validation", {})
        for axis, panel in zip(axes, panels, strict=True):
            if panel == "loss":
                _curves(axis, "Training loss", losses, ["loss"])
                axis.set_ylim(bottom=0)
            elif panel == "recalls":
                _curves(axis, "Shortlist recall, %", losses, recalls)
            else:
                _curves(axis, "Validation, %", [{**line, **line["validation"]} for line in checks], shown)
                if best:
                    axis.axvline(best["epoch"], color=GRAY, linestyle="--", linewidth=1, zorder=0)
            axis.set_xlabel("epoch")

    return Block(
        "learning-curves", "Learning curves", _finding(subject, losses, checks, metric),
        ("step", "epoch", "loss", *(f"validation {name}" for name in shown), *recalls), rows,
        about="The dashed line marks the epoch whose model was kept." if checks else "",
        draw=draw, axes=(1, len(panels)),
    )  # fmt: skip


def _curves(axis: Any, title: str, lines: Sequence[dict[str, Any]], names: Sequence[str]) -> None:
    for name, color in zip(names, (BLUE, ORANGE, GREEN, GRAY) * len(names), strict=False):
        points = [(line["epoch"], line[name]) for line in lines if isinstance(line.get(name), (int, float))]
        if not points:
            continue
        axis.plot(*zip(*points, strict=True), color=color, label=name, marker="o" if len(points) < 40 else None)
        axis.lines[-1].set_markersize(3)
    axis.set_title(title)
    if len(names) > 1:
        axis.legend()


def _finding(subject: Subject, losses: list[dict[str, Any]], checks: list[dict[str, Any]], metric: str) -> str:
    parts = []
    if len(losses) > 1:
        word = "fell" if losses[-1]["loss"] < losses[0]["loss"] else "went"
        parts.append(f"The training loss {word} from {losses[0]['loss']:.4g} to {losses[-1]['loss']:.4g}.")
    reached = [
        (float(line["epoch"]), float(line["validation"][metric]))
        for line in checks
        if isinstance(line["validation"].get(metric), (int, float))
    ]
    if len(reached) > 1:
        best = max(reached, key=lambda point: point[1])
        text = f"Validation {metric} rose from {reached[0][1]:.1f}% to {best[1]:.1f}%, after epoch {best[0]:.1f}"
        change = best[1] - reached[-1][1]
        if best == reached[-1]:
            gained = best[1] - reached[-2][1]
            text += f", the last one: it still gained {gained:.1f} points, and more epochs may add to that"
        elif change > STILL:
            text += f", and then fell by {change:.1f} points: further epochs fit the training texts only"
        else:
            text += ", and stayed there"
        parts.append(text + ".")
    return " ".join(parts)
