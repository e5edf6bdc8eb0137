"""Writes the README's tables from benchmarks/results.csv; --check says whether they are up to date."""

from __future__ import annotations

import csv
import re
import sys
from pathlib import Path

from megalabel.metrics.peers import peers
from megalabel.metrics.table import table

ROOT = Path(__file__).parent.parent
SETS = ("wordnet-4k", "gutenberg-4k", "metamath", "wordnet")
COLUMNS = ("P@1", "P@3", "P@5", "PSP@1", "PSP@3", "PSP@5", "train s", "peak MB")
HEAD_COLUMNS = (  # what the column is called, the metric's name, a factor
    ("ms a step", "step", 1.0),
    ("% of its products' speed", "speed", 100.0),
    ("times the usual speed", "speed-up", 1.0),
    ("peak MB", "peak memory", 1.0),
    ("% of the usual memory", "memory share", 100.0),
)
PEERS = 3  # best recorded peers shown for each set


def rows(benchmark: str) -> dict[str, dict[str, tuple[str, dict[str, str]]]]:
    """The latest value of each size and metric: {size: {metric: (value, row)}}."""
    found: dict[str, dict[str, tuple[str, dict[str, str]]]] = {}
    with open(ROOT / "benchmarks" / "results.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["benchmark"] == benchmark:
                found.setdefault(row["size"], {})[row["metric"]] = row["value"], row
    return found


def quality() -> str:
    parts = []
    for name in SETS:
        ours = {size: metrics for size, metrics in rows("quality").items() if size.split()[0] == name}
        if not ours:
            continue
        lines = [
            (
                f"**megalabel {' '.join(size.split()[1:])}**",
                {metric: float(value) for metric, (value, _) in metrics.items()},
            )
            for size, metrics in ours.items()
        ]
        lines.sort(key=lambda line: -line[1]["P@1"])
        lines += [peer.row for peer in peers(name)[:PEERS]]
        parts.append(table(lines, COLUMNS, style="markdown", title=name))
    return "\n\n".join([*parts, origin("quality")])


def dense_head() -> str:
    """One line for each size and way: metrics are called "way: what"."""
    lines = []
    for size, values in rows("dense_head").items():
        ways = list(dict.fromkeys(metric.rpartition(": ")[0] for metric in values))
        for way in ways:
            cells = {
                head: _short(float(values[f"{way}: {what}"][0]) * factor)
                for head, what, factor in HEAD_COLUMNS
                if f"{way}: {what}" in values
            }
            lines.append((f"{size.split()[0]} {way}", cells))
    heads = [head for head, _, _ in HEAD_COLUMNS]
    return table(lines, heads, style="markdown", title="") + "\n\n" + origin("dense_head")


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def origin(benchmark: str) -> str:
    facts = {
        (row["date"], row["commit"], row["machine"])
        for metrics in rows(benchmark).values()
        for _, row in metrics.values()
    }
    return "; ".join(f"{date}, commit {commit}, {machine}" for date, commit, machine in sorted(facts))


def main() -> None:
    path = ROOT / "README.md"
    before = text = path.read_text(encoding="utf-8")
    for name, made in (("quality", quality), ("dense_head", dense_head)):
        if rows(name):
            text = re.sub(
                rf"(<!-- {name} -->\n).*?(<!-- end -->)",
                lambda match, made=made: match[1] + made() + "\n" + match[2],
                text,
                flags=re.DOTALL,
            )
    if "--check" in sys.argv:
        if text != before:
            sys.exit(
                "README.md does not show the rows of benchmarks/results.csv; run python scripts/readme_tables.py"
            )
        return
    path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
