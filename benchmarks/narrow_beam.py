"""Beam search over narrow tables of a cascade, as multiples of the time with float32 in the same run.

python benchmarks/narrow_beam.py [--labels 200000] [--levels 512 4096 32768] [--queries 300] [--no-record]

The tree and the queries are those of `beam.py`. "single" is a query of its own, "batched" 256 texts at once, both
on one thread, and "rows first" the PyTorch version, which reads the rows that a batch reaches into a table first.
Types take turns, and medians are compared.

Expected before the first run: narrow tables are read from memory in half or a quarter of the bytes, but each row
is converted before it is multiplied, so queries take 0.8 to 1.5 of float32's time; rows first several times that.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import numpy as np
import record
import torch
from beam import microseconds, planted, queries

from megalabel.kernels.candidates.beam import BeamSearch
from megalabel.kernels.core import dispatch
from megalabel.kernels.core.dtypes import weight_type
from megalabel.kernels.rounding.narrow_table import NarrowTable
from megalabel.kernels.rounding.stochastic_rounding import Draw

ROUNDS = 5  # how often the types take turns
BATCH = 256


def narrowed(table: torch.Tensor, name: str) -> torch.Tensor | NarrowTable:
    """A table in a type."""
    if name == "float32":
        return table
    found = NarrowTable.zeros(*table.shape, weight_type(name))
    found.store(0, table, Draw(0, 0))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=200_000)
    parser.add_argument("--levels", type=int, nargs="+", default=[512, 4096, 32768])
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--beam", type=int, default=32)
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    sizes = [*options.levels, options.labels]
    tables, offsets, order = planted(sizes, options.dim)
    x, _ = queries(tables[-1], max(options.queries, BATCH), 3, 5.0)
    rest = [None] * len(sizes), offsets, order, [options.beam] * len(offsets)
    searches = {
        name: BeamSearch([narrowed(t, name) for t in tables], *rest) for name in ("float32", "bfloat16", "float8")
    }

    def single(search: BeamSearch) -> float:
        return float(np.median(microseconds(lambda i: search(x[i : i + 1], 10), options.queries)))

    def batched(search: BeamSearch) -> float:
        return float(np.median(microseconds(lambda i: search(x[:BATCH], 10), 3))) / BATCH

    def first(search: BeamSearch, ask: Callable[[BeamSearch], float]) -> float:
        with dispatch.use("plain"):
            return ask(search)

    found: dict[str, list[float]] = {}
    for _ in range(ROUNDS):
        for name, search in searches.items():
            for way, ask in (("single", single), ("batched", batched)):
                found.setdefault(f"{name} {way}", []).append(ask(search))
    for name, search in searches.items():
        found[f"{name} batched, rows first"] = [first(search, batched)]
    size = f"L={options.labels} D={options.dim} levels={'/'.join(map(str, options.levels))} beam={options.beam}"
    for what, times in found.items():
        name, way = what.split(" ", 1)
        own, wide = float(np.median(times)), float(np.median(found[f"float32 {way.split(',')[0]}"]))
        print(f"{size} {what}: {own:.1f} µs, {own / wide:.2f} of float32", flush=True)
        if not options.no_record:
            record.row("narrow_beam", size, f"{what}: query", own, "µs")
            record.row("narrow_beam", size, f"{what}: ratio", own / wide, "of float32")


if __name__ == "__main__":
    main()
