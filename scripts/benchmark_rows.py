"""Reads the rows of benchmarks/results.csv, and says where those of a table come from."""

from __future__ import annotations

import csv
from pathlib import Path

ROOT = Path(__file__).parents[1]


def rows(benchmark: str) -> dict[str, dict[str, tuple[str, dict[str, str]]]]:
    """The latest value of each size and metric: {size: {metric: (value, row)}}."""
    found: dict[str, dict[str, tuple[str, dict[str, str]]]] = {}
    with open(ROOT / "benchmarks" / "results.csv", newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["benchmark"] == benchmark:
                found.setdefault(row["size"], {})[row["metric"]] = row["value"], row
    return found


def origin(*benchmarks: str, without: tuple[str, ...] = ()) -> str:
    """The date, commits and machine of the rows, but of those whose size starts with one of `without`."""
    commits: dict[tuple[str, str], set[str]] = {}
    for benchmark in benchmarks:
        for size, metrics in rows(benchmark).items():
            for _, row in metrics.values() if not size.startswith(without) else ():
                machine = row["machine"].replace(", 1 cores", ", 1 core")  # as older rows say
                commits.setdefault((row["date"], machine), set()).add(row["commit"])
    told = []
    for (date, machine), names in sorted(commits.items()):
        told.append(f"{date}, commit{'s' * (len(names) > 1)} {', '.join(sorted(names))}, {machine}")
    return "; ".join(told)
