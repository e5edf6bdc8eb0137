"""Benchmark of beam search in a tree of a million labels: time per text, and recall of the exact best labels.

python benchmarks/beam.py [--labels 1000000] [--queries 2000] [--no-record]

The tables have the structure of a trained tree: the vector of a node is that of its parent plus noise, and a query
is the sum of the vectors of some labels plus noise. Recall is measured against the exact best labels by the same
scores.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable
from typing import NamedTuple

import numba
import numpy as np
import record
import torch

from megalabel.kernels.all_labels.streaming_topk import streaming_topk
from megalabel.kernels.candidates.beam import BeamSearch
from megalabel.metrics.table import table

KS = (1, 5, 10)
EVERYTHING = np.zeros(1, dtype=np.int64)  # a block that begins with the first row


def planted(sizes: list[int], dim: int) -> tuple[list[torch.Tensor], list[np.ndarray], np.ndarray]:
    """Tables of all levels, offsets of a balanced tree, and label ids in random order."""
    generator = torch.Generator().manual_seed(0)
    tables, offsets = [], []
    for i, n in enumerate(sizes):
        vectors = torch.randn(n, dim, generator=generator).mul_(dim**-0.5)
        if i:
            offsets.append(np.arange(sizes[i - 1] + 1) * n // sizes[i - 1])
            parents = torch.from_numpy(np.repeat(np.arange(sizes[i - 1]), np.diff(offsets[-1])))
            for at in range(0, n, 1 << 16):
                vectors[at : at + (1 << 16)] += tables[-1][parents[at : at + (1 << 16)]]
        tables.append(vectors)
    return tables, offsets, np.random.default_rng(0).permutation(sizes[-1])


def queries(labels: torch.Tensor, n: int, each: int, noise: float) -> tuple[torch.Tensor, np.ndarray]:
    """Queries (n, 1, D), sums of `each` random rows and noise of `noise` tree steps; the rows (n, each)."""
    generator = torch.Generator().manual_seed(1)
    chosen = torch.randint(len(labels), (n, each), generator=generator)
    step = torch.randn(n, labels.shape[1], generator=generator) * labels.shape[1] ** -0.5
    return (labels[chosen].sum(1) + noise * step)[:, None], chosen.numpy()


def shared(a: np.ndarray, b: np.ndarray, k: int) -> float:
    """The percentage of the first k of b's rows that are among the first k of a's; rows have no duplicates."""
    return 100 * float((a[:, :k, None] == b[:, None, :k]).any(1).mean())


@numba.njit(fastmath=True)
def read_blocks(values: np.ndarray, starts: np.ndarray, rows: int) -> float:
    """Reads `rows` rows of (n, D) from each start on; the sum prevents the compiler from removing the reads."""
    total = np.float32(0)
    for start in starts:
        for row in range(start, start + rows):
            for d in range(values.shape[1]):
                total += values[row, d]
    return total


def microseconds(work: Callable[[int], object], n: int, before: Callable[[], object] | None = None) -> np.ndarray:
    """The time of each of n calls in microseconds, after a tenth as many calls to warm up."""
    times = np.empty(n)
    for i in range(-(n // 10) - 1, n):
        if before is not None:
            before()
        start = time.perf_counter()
        work(max(i, 0))
        times[max(i, 0)] = 1e6 * (time.perf_counter() - start)
    return times


class Speeds(NamedTuple):
    """Read bandwidths of two tables in bytes per µs, and the µs of a call that scores almost nothing."""

    again: float
    spread: float
    call: float


def speeds(tables: list[torch.Tensor], x: torch.Tensor, sizes: list[int]) -> Speeds:
    """Measures reading level 0 repeatedly, and reading 100 scattered leaves per query."""
    fan, dim, n = sizes[-1] // sizes[-2], tables[0].shape[1], len(x)
    blocks = np.random.default_rng(2).integers(0, sizes[-1] - fan, (n, 100))
    top, leaf = tables[0].numpy(), tables[-1].numpy()
    again = microseconds(lambda i: read_blocks(top, EVERYTHING, len(top)), 300)
    spread = microseconds(lambda i: read_blocks(leaf, blocks[i], fan), n)
    levels = len(sizes) - 1
    chain = [tables[0][:1]] * levels + [tables[0][:10]]
    ones = [np.arange(2)] * (levels - 1) + [np.array([0, 10])]
    small = BeamSearch(chain, [None] * len(sizes), ones, np.arange(10), [1] * levels)
    call = float(np.median(microseconds(lambda i: small(x[i : i + 1], 10), n)))
    return Speeds(top.nbytes / float(np.median(again)), 100 * fan * dim * 4 / float(np.median(spread)), call)


def times(search: BeamSearch, x: torch.Tensor, other: np.ndarray, floor: float, threads: int) -> dict[str, float]:
    """The times of single queries, of queries after other memory has been read, and of batches."""
    one = microseconds(lambda i: search(x[i : i + 1], 10), len(x))
    cold = microseconds(
        lambda i: search(x[i : i + 1], 10), 100, lambda: read_blocks(other, EVERYTHING, len(other))
    )
    torch.set_num_threads(threads)
    batched = float(np.median(microseconds(lambda i: search(x[:1024], 10), 8)))
    torch.set_num_threads(1)
    return {
        "p50, µs": float(np.median(one)),
        "p99, µs": float(np.percentile(one, 99)),
        "floor, µs": floor,
        "p50 cold, µs": float(np.median(cold)),
        "batched, texts/s": 1e6 * min(1024, len(x)) / batched,
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--levels", type=int, nargs="+", default=[2**11, 2**14, 2**17])
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--beams", type=int, nargs="+", default=[10, 32, 100])
    parser.add_argument("--queries", type=int, default=2000)
    parser.add_argument("--exact", type=int, default=500, help="queries that are also scored against all labels")
    parser.add_argument("--each", type=int, default=3, help="labels in a query")
    parser.add_argument("--noise", type=float, default=5.0, help="noise in a query, in steps of the tree")
    parser.add_argument("--threads", type=int, default=2, help="of the batched searches")
    parser.add_argument("--no-record", action="store_true")
    return parser.parse_args()


def main() -> None:
    options = arguments()
    sizes = [*options.levels, options.labels]
    tables, offsets, order = planted(sizes, options.dim)
    x, planted_rows = queries(tables[-1], options.queries, options.each, options.noise)
    size = f"L={options.labels} D={options.dim} levels={'/'.join(map(str, options.levels))}"
    torch.set_num_threads(options.threads)
    start = time.perf_counter()
    exact = streaming_topk(x[: options.exact, 0], tables[-1], None, max(KS))
    exact_ms = 1e3 * (time.perf_counter() - start) / options.exact
    best, own = order[exact.ids.numpy()], order[planted_rows[: options.exact]]  # rows are places
    torch.set_num_threads(1)

    other = np.ones((640 << 18, 1), dtype=np.float32)  # 640 MiB: more than any cache
    speed = speeds(tables, x, sizes)
    rows = []
    for beam in options.beams:
        search = BeamSearch(tables, [None] * len(sizes), offsets, order, [beam] * len(offsets))
        below = sum(min(beam, n) * m / n for n, m in itertools.pairwise(sizes))
        floor = tables[0].nbytes / speed.again + below * options.dim * 4 / speed.spread
        values = times(search, x, other, floor, options.threads)
        found = search(x[: options.exact], max(KS)).ids.numpy()
        for k in KS:
            values[f"R@{k}, %"] = shared(found, best, k)
        values["own, %"] = shared(found, own, max(KS))
        rows.append((f"beam {beam}", {name: f"{value:.1f}" for name, value in values.items()}))
        if not options.no_record:
            for name, value in values.items():
                metric, _, unit = name.rpartition(", ")
                record.row("beam", f"{size} beam={beam}", metric, value, unit)
    print(f"{size}; queries of {options.each} labels and noise {options.noise:g}")
    print(f"{record.machine()}; {record.versions()}\n")
    print(table(rows, list(rows[0][1]), title="top 10"))
    print(f"\nA call with next to nothing to score takes {speed.call:.1f} µs.")
    print(
        f"floor: level 0 read again and again at {speed.again / 1e3:.1f} GB/s, the rest as leaves here and there,"
    )
    print(f"at {speed.spread / 1e3:.1f} GB/s. cold: each query after {other.nbytes >> 20} MiB of other memory.")
    print("R@k: of the k best of all labels; own: of the query's labels, of which scoring all finds", end=" ")
    print(f"{shared(best, own, max(KS)):.1f} among {max(KS)}.")
    print(f"batched: 1024 texts, {options.threads} threads; all labels of a text take {exact_ms:.1f} ms there.")


if __name__ == "__main__":
    main()
