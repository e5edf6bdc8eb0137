"""Appends measured values to results.csv, with commit, machine and versions."""

from __future__ import annotations

import csv
import datetime
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# As in the command line, before torch reads it: threads that spin while waiting would distort the measurements.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

COLUMNS = ("date", "commit", "benchmark", "machine", "versions", "size", "metric", "value", "unit")
RESULTS = Path(__file__).with_name("results.csv")


def row(
    benchmark: str,
    size: str,
    metric: str,
    value: float | str,
    unit: str,
    *,
    path: Path = RESULTS,
    checkout: Path | None = None,
) -> None:
    """One measured value, e.g. row("metrics", "N=1e6 k=5 L=1e6", "measure", 0.61, "s").

    checkout: the working tree that was measured, if it is not that of this file.
    """
    found = {
        "date": datetime.date.today().isoformat(),
        "commit": commit(checkout),
        "benchmark": benchmark,
        "machine": machine(),
        "versions": versions(),
        "size": size,
        "metric": metric,
        "value": f"{value:.6g}" if isinstance(value, float) else value,
        "unit": unit,
    }
    new = not path.exists() or path.stat().st_size == 0
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if new:
            writer.writeheader()
        writer.writerow(found)


def commit(checkout: Path | None = None) -> str:
    """The short commit hash, followed by "+" if the package has changed since; "unknown" outside of git."""
    here = checkout or Path(__file__).parents[1]
    try:
        name = _git(here, "rev-parse", "--short", "HEAD")
        return name + ("+" if _git(here, "status", "--porcelain", "--", "megalabel") else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def machine() -> str:
    """The name of the processor and the number of cores that this process may use."""
    name = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        names = [
            line.partition(":")[2].strip() for line in info.read_text().splitlines() if line[:10] == "model name"
        ]
        name = names[0] if names else name
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return f"{name}, {cores} core" + ("s" if cores != 1 else "")


def versions() -> str:
    """The versions of Python and of the measured packages."""
    found = [f"python {platform.python_version()}"]
    for package in ("torch", "numpy", "numba"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, check=True, capture_output=True, text=True)
    return done.stdout.strip()
