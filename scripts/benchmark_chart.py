"""Draws docs/accuracy.svg, P@1 against training time, from benchmarks/results.csv; --check verifies its rows.

Drawing needs matplotlib (`pip install matplotlib`), which nothing else here does. Checking needs only the standard
library: the file carries a hash of the rows that it shows.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CHART = ROOT / "docs" / "accuracy.svg"
SETS = {"wordnet-4k": "wordnet-4k: 16,655 texts, 4,044 labels", "wordnet": "wordnet: 145,716 labels"}
TOOLS = {"pecos": "PECOS", "omikuji-parabel": "Omikuji, Parabel", "omikuji-bonsai": "Omikuji, Bonsai"}
OURS, OTHERS = "#1f5fa8", "#8a8a8a"
# Where a label would cover another point: offset in points and horizontal alignment.
MOVED = {
    ("wordnet-4k", "linear-texts"): (0, -13, "center"),
    ("wordnet-4k", "PECOS"): (-2, 7, "right"),
    ("wordnet-4k", "Omikuji, Bonsai"): (2, 7, "left"),
    ("wordnet-4k", "Omikuji, Parabel"): (7, -8, "left"),
    ("wordnet-4k", "renee minilm, fine-tuned, hybrid"): (-2, 8, "right"),
    ("wordnet-4k", "cascadexml minilm, fine-tuned, hybrid"): (-9, 2, "right"),
    ("wordnet-4k", "renee minilm, fine-tuned"): (-9, -7, "right"),
    ("wordnet-4k", "cascadexml minilm, fine-tuned"): (-9, -11, "right"),
    ("wordnet-4k", "renee bag"): (-7, -9, "right"),
    ("wordnet-4k", "lightxml bag"): (6, 3, "left"),
    ("wordnet", "renee bag"): (0, 8, "center"),
    ("wordnet", "cascadexml bag, hybrid"): (-9, 0, "right"),
}


def points() -> dict[str, dict[str, tuple[float, float, bool]]]:
    """By data set and system: training CPU seconds, P@1 in percent, and whether the system is megalabel."""
    rows: dict[tuple[str, str], dict[str, float]] = {}
    with open(ROOT / "benchmarks" / "results.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["benchmark"] in ("quality", "linear"):
                rows.setdefault((row["benchmark"], row["size"]), {})[row["metric"]] = float(row["value"])
    found: dict[str, dict[str, tuple[float, float, bool]]] = {name: {} for name in SETS}
    for (_, size), values in rows.items():
        name, _, system = size.partition(" ")
        seconds = values.get("train CPU s", values.get("solve CPU s"))
        if name in SETS and seconds is not None:
            found[name][TOOLS.get(system, system)] = (seconds, values["P@1"], system not in TOOLS)
    return found


def digest() -> str:
    """A hash of the rows shown."""
    return hashlib.sha256(json.dumps(points(), sort_keys=True).encode()).hexdigest()


def draw() -> None:
    """Writes the chart."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    plt.rcParams.update({"svg.hashsalt": "megalabel", "svg.fonttype": "none", "font.size": 9})
    figure, panels = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for panel, (name, title) in zip(panels, SETS.items(), strict=True):
        for system, (seconds, score, ours) in points()[name].items():
            color = OURS if ours else OTHERS
            panel.scatter(seconds, score, color=color, s=28, marker="o" if ours else "s", zorder=3)
            x, y, side = MOVED.get((name, system), (7, -3, "left"))
            panel.annotate(
                system,
                (seconds, score),
                xytext=(x, y),
                textcoords="offset points",
                ha=side,
                color=color,
                fontsize=8,
            )
        panel.set(xscale="log", xlabel="training CPU seconds", title=title)
        panel.margins(x=0.22, y=0.12)
        panel.grid(color="#e4e4e4", linewidth=0.6)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_ylabel("P@1 (%)")
    figure.savefig(CHART, metadata={"Date": None})
    text = CHART.read_text(encoding="utf-8")
    text = re.sub(r"[ \t]+\n", "\n", text)
    CHART.write_text(text.rstrip() + f"\n<!-- rows {digest()} -->\n", encoding="utf-8")


if __name__ == "__main__":
    if "--check" not in sys.argv:
        draw()
    elif digest() not in CHART.read_text(encoding="utf-8"):
        sys.exit("docs/accuracy.svg does not show the latest rows; run python scripts/benchmark_chart.py")
