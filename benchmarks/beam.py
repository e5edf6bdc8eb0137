"""How long one text takes through a tree of a million labels, and which of the best labels it finds.

python benchmarks/beam.py [--labels 1000000] [--queries 2000] [--no-record]

The tables have the structure that a trained tree has: a node's vector is its parent's plus noise, a query is the
sum of some labels' vectors plus noise. Recall is against the exact best of all labels by the same scores.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Callable

import numba
import numpy as np
import record
import torch

from megalabel.kernels.all_labels.streaming_topk import streaming_topk
from megalabel.kernels.candidates.beam import BeamSearch
from megalabel.metrics.table import table

KS = (1, 5, 10)


def planted(sizes: list[int], dim: int) -> tuple[list[torch.Tensor], list[np.ndarray], np.ndarray]:
    """Tables of all levels, offsets of a balanced tree, and label ids in an order of their own."""
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
    """Sums (n, 1, D) of `each` random rows and of noise `noise` steps of the tree long; the rows (n, each)."""
    generator = torch.Generator().manual_seed(1)
    chosen = torch.randint(len(labels), (n, each), generator=generator)
    step = torch.randn(n, labels.shape[1], generator=generator) * labels.shape[1] ** -0.5
    return (labels[chosen].sum(1) + noise * step)[:, None], chosen.numpy()


def shared(a: np.ndarray, b: np.ndarray, k: int) -> float:
    """How many of the first k of b's rows are among the first k of a's, in percent; rows hold no repeats."""
    return 100 * float((a[:, :k, None] == b[:, None, :k]).any(1).mean())


@numba.njit(fastmath=True)
def read_blocks(values: np.ndarray, starts: np.ndarray, rows: int) -> float:
    """Reads `rows` rows of (n, D) from each start on; the sum keeps the compiler from leaving them out."""
    total = np.float32(0)
    for start in starts:
        for row in range(start, start + rows):
            for d in range(values.shape[1]):
                total += values[row, d]
    return total


def microseconds(work: Callable[[int], object], n: int, before: Callable[[], object] | None = None) -> np.ndarray:
    """What each of n calls takes, after one in ten of them to warm up."""
    times = np.empty(n)
    for i in range(-(n // 10) - 1, n):
        if before is not None:
            before()
        start = time.perf_counter()
        work(max(i, 0))
        times[max(i, 0)] = 1e6 * (time.perf_counter() - start)
    return times


def main() -> None:
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
    options = parser.parse_args()
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
    everything = np.zeros(1, dtype=np.int64)
    generator = np.random.default_rng(2)
    fan = options.labels // options.levels[-1]
    blocks = generator.integers(0, options.labels - fan, (options.queries, 100))
    top, leaf = tables[0].numpy(), tables[-1].numpy()
    again = microseconds(lambda i: read_blocks(top, everything, len(top)), 300)
    spread = microseconds(lambda i: read_blocks(leaf, blocks[i], fan), options.queries)
    speed = top.nbytes / np.median(again), 100 * fan * options.dim * 4 / np.median(spread)  # bytes a µs
    chain = [tables[0][:1]] * len(offsets) + [tables[0][:10]]
    ones = [np.arange(2)] * (len(offsets) - 1) + [np.array([0, 10])]
    small = BeamSearch(chain, [None] * len(sizes), ones, np.arange(10), [1] * len(offsets))
    call = float(np.median(microseconds(lambda i: small(x[i : i + 1], 10), options.queries)))

    rows = []
    for beam in options.beams:
        search = BeamSearch(tables, [None] * len(sizes), offsets, order, [beam] * len(offsets))
        one = microseconds(lambda i, search=search: search(x[i : i + 1], 10), options.queries)
        cold = microseconds(
            lambda i, search=search: search(x[i : i + 1], 10),
            100,
            lambda: read_blocks(other, everything, len(other)),
        )
        found = search(x[: options.exact], max(KS)).ids.numpy()
        below = sum(min(beam, n) * m / n for n, m in itertools.pairwise(sizes))
        floor = top.nbytes / speed[0] + below * options.dim * 4 / speed[1]
        torch.set_num_threads(options.threads)
        batched = np.median(microseconds(lambda i, search=search: search(x[:1024], 10), 8))
        torch.set_num_threads(1)
        values = {
            "p50, µs": float(np.median(one)),
            "p99, µs": float(np.percentile(one, 99)),
            "floor, µs": floor,
            "p50 cold, µs": float(np.median(cold)),
            "batched, texts/s": 1e6 * min(1024, options.queries) / batched,
        }
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
    print(f"\nA call with next to nothing to score takes {call:.1f} µs.")
    print(f"floor: level 0 read again and again at {speed[0] / 1e3:.1f} GB/s, the rest as leaves here and there,")
    print(f"at {speed[1] / 1e3:.1f} GB/s. cold: each query after {other.nbytes >> 20} MiB of other memory.")
    print("R@k: of the k best of all labels; own: of the query's labels, of which scoring all finds", end=" ")
    print(f"{shared(best, own, max(KS)):.1f} among {max(KS)}.")
    print(f"batched: 1024 texts, {options.threads} threads; all labels of a text take {exact_ms:.1f} ms there.")


if __name__ == "__main__":
    main()
