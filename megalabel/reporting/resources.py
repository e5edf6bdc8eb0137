"""What a run took: memory along its steps beside the prediction, and time by phase."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from megalabel.display import duration
from megalabel.reporting.blocks import Block, Cell
from megalabel.reporting.drawing import BLUE, GRAY, GREEN, ORANGE, percent_axis
from megalabel.reporting.subject import Subject
from megalabel.reporting.words import percent

POINTS = 300  # of a timeline
LEAST = 0.02  # share of a component of the predicted memory that has a name in the figure
SHADES = (
    "#0b62a4",
    "#4f8fc4",
    "#8bb8dc",
    "#2e7d4f",
    "#6aa883",
    "#a8cfb6",
    "#d9730d",
    "#e59c55",
    "#f0c59b",
    "#8a6bb1",
)


def memory_block(subject: Subject) -> Block | None:
    """Measured memory along the steps beside the predicted components; None without lines on memory."""
    lines = [line for line in subject.log if isinstance(line.get("peak_mb"), (int, float)) and line["peak_mb"]]
    if len(lines) < 2:
        return None
    lines = [lines[i] for i in np.unique(np.linspace(0, len(lines) - 1, POINTS).astype(int))]
    last = max(lines, key=lambda line: float(line["step"]))
    parts: dict[str, Any] = next(
        (line["predicted_mb"] for line in subject.log if isinstance(line.get("predicted_mb"), dict)), {}
    )
    peak = next((line["predicted_peak_mb"] for line in subject.log if line.get("predicted_peak_mb")), None)
    measured = float(subject.facts.get("finished", {}).get("peak_mb") or last["peak_mb"])
    rows: list[list[Cell]] = [
        ["measured", str(line.get("phase", "")), float(line["epoch"]), line.get("rss_mb"), float(line["peak_mb"])]
        for line in lines
    ]
    rows += [["predicted", name, None, float(size), None] for name, size in parts.items()]
    if peak is not None:
        rows.append(["predicted", "peak", None, None, float(peak)])
    return Block(
        "memory", "Memory along the training", _memory_finding(measured, peak, parts),
        ("kind", "phase or component", "epoch", "MB", "peak MB"), rows,
        about="Components are not all in memory at the same time, so that the predicted peak is below their sum."
        if parts else "",
        draw=lambda *axes: _draw_memory(axes, lines, parts, peak), axes=(1, 2 if parts else 1), height=3.0,
    )  # fmt: skip


def _memory_finding(measured: float, predicted: float | None, parts: dict[str, float]) -> str:
    text = f"The process took {measured:,.0f} MB at its peak"
    if predicted is None:
        return text + "."
    off = measured / predicted - 1
    word = "more" if off > 0 else "less"
    largest = max(parts, key=lambda name: parts[name])
    return (
        f"{text}, {percent(abs(off), 0)} {word} than the predicted {predicted:,.0f} MB; the largest predicted "
        f"component is “{largest}” with {parts[largest]:,.0f} MB."
    )


def _draw_memory(axes: Sequence[Any], lines: list[dict[str, Any]], parts: dict[str, float], peak: Any) -> None:
    timeline = axes[0]
    timeline.plot([x["epoch"] for x in lines], [x["peak_mb"] for x in lines], color=BLUE, label="measured peak")
    now = [line for line in lines if isinstance(line.get("rss_mb"), (int, float))]
    if now:
        at, size = [line["epoch"] for line in now], [line["rss_mb"] for line in now]
        timeline.plot(at, size, "o", color=GREEN, label="measured now")
        for line in now:
            timeline.annotate(
                line["phase"], (line["epoch"], line["rss_mb"]), (0, -11), textcoords="offset points",
                ha="left" if line["epoch"] == 0 else "right", fontsize=8,
            )  # fmt: skip
    if peak is not None:
        timeline.axhline(peak, color=ORANGE, linestyle="--", label="predicted peak")
    timeline.set_ylim(bottom=0)
    timeline.set_title("Measured, MB")
    timeline.set_xlabel("epoch")
    timeline.legend(loc="lower right")
    if parts:
        _draw_parts(axes[1], parts)


def _draw_parts(axis: Any, parts: dict[str, float]) -> None:
    """The predicted components, largest first; small ones together."""
    total = sum(parts.values())
    named = sorted(((size, name) for name, size in parts.items() if size >= LEAST * total), reverse=True)
    rest = total - sum(size for size, _ in named)
    if rest > 0.001 * total:
        named.append((rest, "others"))
    at = np.arange(len(named))
    axis.barh(at, [size for size, _ in named], 0.7, color=[SHADES[i % len(SHADES)] for i in at])
    axis.set_yticks(at, [name for _, name in named], fontsize=8)
    axis.invert_yaxis()
    axis.grid(axis="x")
    axis.grid(axis="y", visible=False)
    axis.tick_params(axis="y", length=0)
    axis.set_title("Predicted components, MB")


def time_block(subject: Subject) -> Block | None:
    """The seconds of each phase of the training; None for runs that did not record them."""
    seconds: dict[str, float] = {
        name: value for name, value in subject.facts.get("phases", {}).items() if value > 0
    }
    total = sum(seconds.values())
    if len(seconds) < 2:
        return None
    longest = max(seconds, key=lambda name: seconds[name])
    finding = (
        f"The run took {duration(total)}; “{longest}” was the longest phase with {duration(seconds[longest])} "
        f"({percent(seconds[longest] / total, 0)})."
    )
    rows: list[list[Cell]] = [[name, value, 100 * value / total] for name, value in seconds.items()]
    return Block(
        "time", "Time by phase", finding, ("phase", "seconds", "percent"), rows,
        draw=lambda axis: _draw_time(axis, seconds, total), height=0.75 + 0.25 * len(seconds),
    )  # fmt: skip


def _draw_time(axis: Any, seconds: dict[str, float], total: float) -> None:
    at = np.arange(len(seconds))
    axis.barh(at, [value / total for value in seconds.values()], 0.7, color=BLUE)
    for y, value in zip(at, seconds.values(), strict=True):
        axis.text(value / total, y, f" {duration(value)}", va="center", fontsize=8.5)
    axis.set_yticks(at, list(seconds))
    axis.set_xlim(0, 1.15 * max(seconds.values()) / total)
    axis.invert_yaxis()
    axis.grid(axis="y", visible=False)
    axis.grid(axis="x", color=GRAY, alpha=0.4)
    axis.tick_params(axis="y", length=0)
    percent_axis(axis, "x")
