"""Machines of one core in rows of results.csv, as they are written now and as older rows have them."""

from __future__ import annotations

import csv
import os
import sys

import pytest
from support.scripts import ROOT, load_script

script = load_script("benchmark_rows")
sys.path.insert(0, str(ROOT / "benchmarks"))
import record  # noqa: E402


@pytest.mark.parametrize(("cores", "end"), [(1, "1 core"), (2, "2 cores"), (11, "11 cores")])
def test_a_machine_of_one_core_is_named_in_the_singular(cores, end, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(cores)), raising=False)
    assert record.machine().endswith(f", {end}")


def test_older_rows_of_one_core_are_of_the_same_machine(tmp_path, monkeypatch):
    (tmp_path / "benchmarks").mkdir()
    with open(tmp_path / "benchmarks" / "results.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, record.COLUMNS)
        writer.writeheader()
        for metric, machine in (("a", "X, 1 cores"), ("b", "X, 1 core"), ("c", "X, 11 cores")):
            row = dict.fromkeys(record.COLUMNS, "z")
            writer.writerow({**row, "benchmark": "beam", "metric": metric, "machine": machine})
    monkeypatch.setattr(script, "ROOT", tmp_path)
    assert script.origin("beam") == "z, commit z, X, 1 core; z, commit z, X, 11 cores"
