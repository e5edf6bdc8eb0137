"""Measures the search of one text in a tree of `linear`, by the number of its features.

python benchmarks/long_queries.py [--labels 100000] [--note ""]

The tree has random sparse weights: 400 features per node at the top, 100 per node below, where there is a
cluster per 80 labels, and 30 features per label, of 300,000; the beam keeps 10 nodes of a level. "looked up in the
text" is the search as it runs, "looked up in the chunks" the same without the array of a long text's features.
Times are CPU milliseconds of one thread over 60 texts: the median and the 99th percentile.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import scipy.sparse as sp
import torch
from record import row

from megalabel.kernels.linear import sparse_beam
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.kernels.linear.sparse_chunks import Chunks

FEATURES, TEXTS = 300_000, 60
LENGTHS = (30, 300, 3_000, 30_000)


def random_rows(n: int, per_row: int, draw: np.random.Generator) -> sp.csr_matrix:
    """n rows with about `per_row` features each, of which frequent ones have low numbers, and the bias."""
    columns = np.minimum(draw.zipf(1.3, n * per_row), FEATURES) - 1
    columns = np.where(draw.random(n * per_row) < 0.5, columns, draw.integers(FEATURES, size=n * per_row))
    values = draw.standard_normal(n * per_row, dtype=np.float32)
    rows = np.repeat(np.arange(n), per_row)
    found = sp.csr_matrix((values, (rows, columns)), shape=(n, FEATURES + 1))
    found.sum_duplicates()
    return found


def tree(n_labels: int) -> SparseBeam:
    """A tree of three levels with random weights."""
    draw = np.random.default_rng(0)
    sizes = (128, max(128, n_labels // 80), n_labels)
    levels, above = [], 1
    for size, per_row in zip(sizes, (400, 100, 30), strict=True):
        offsets = np.linspace(0, size, above + 1).astype(np.int64)
        levels.append(Chunks.from_weights(random_rows(size, per_row, draw), offsets))
        above = size
    return SparseBeam(levels, np.arange(n_labels), [10, 10])


def times(search: SparseBeam, texts: list[sp.csr_matrix]) -> tuple[float, float]:
    """Median and 99th percentile of the CPU milliseconds of single texts."""
    search(texts[0], 5)
    found = []
    for text in texts:
        begun = time.process_time()
        search(text, 5)
        found.append(1e3 * (time.process_time() - begun))
    p50, p99 = np.percentile(found, [50, 99])
    return float(p50), float(p99)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=100_000)
    parser.add_argument("--note", default="", help="added to the size of the rows")
    given = parser.parse_args()
    torch.set_num_threads(1)
    search, draw = tree(given.labels), np.random.default_rng(1)
    long = sparse_beam._LONG
    for length in LENGTHS:
        texts = [abs(random_rows(1, length, draw))[:, :FEATURES].tocsr() for _ in range(TEXTS)]
        size = f"L={given.labels} features={length} {given.note}".strip()
        for way, limit in (("looked up in the chunks", 1 << 60), ("looked up in the text", long)):
            sparse_beam._LONG = limit
            p50, p99 = times(search, texts)
            print(size, way, f"{p50:.3f} {p99:.3f} ms", flush=True)
            row("long_queries", size, f"{way}: p50", p50, "ms")
            row("long_queries", size, f"{way}: p99", p99, "ms")


if __name__ == "__main__":
    main()
