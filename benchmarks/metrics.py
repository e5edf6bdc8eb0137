"""Time of the metrics for a million texts with five predictions each, and a million labels.

python benchmarks/metrics.py [--texts 1000000] [--labels 1000000] [--no-record]
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import record
import scipy.sparse as sp

from megalabel.kernels.core import dispatch
from megalabel.kernels.sparse.hits import as_truth, best_gains, hits
from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.ranking import measure
from megalabel.metrics.table import table
from megalabel.metrics.topk import apply_filter, topk_from_csr
from megalabel.types import TopK


def planted(n: int, n_labels: int, k: int) -> tuple[TopK, sp.csr_matrix, np.ndarray]:
    """Predictions of which about a third are correct, true labels (5 per text, long tail), and propensities."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(5, n)
    rows = np.repeat(np.arange(n), counts)
    columns = np.minimum(rng.zipf(1.3, len(rows)) - 1, n_labels * 50) % n_labels
    truth = sp.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=(n, n_labels))
    truth.sum_duplicates()
    truth.data[:] = 1
    labels = rng.integers(0, n_labels, (n, k))
    for j in range(k):
        has = np.flatnonzero((np.diff(truth.indptr) > j) & (rng.random(n) < 0.4))
        labels[has, j] = truth.indices[truth.indptr[has] + j]
    scores = -np.sort(-rng.random((n, k), dtype=np.float32), axis=1)
    weights = inverse_propensity(np.asarray((truth != 0).sum(axis=0)).ravel(), n)
    return TopK(labels, scores), truth, weights


def by(backend: dispatch.Backend, work: Callable[[], object]) -> Callable[[], object]:
    def run() -> object:
        with dispatch.use(backend):
            return work()

    return run


def seconds(work: Callable[[], object], repeats: int = 5) -> tuple[float, float]:
    """The first run (which imports and compiles) and the median of the following ones."""
    times = []
    for _ in range(1 + repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return times[0], float(np.median(times[1:]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--labels", type=int, default=1_000_000)
    parser.add_argument("--k", type=int, default=5)
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    n, k = options.texts, options.k
    top, truth, weights = planted(n, options.labels, k)
    labels = top.ids
    truth = as_truth(truth)
    pairs = np.stack([np.arange(0, n, 10), labels[::10, 0]], axis=1)
    flat = sp.csr_matrix((top.scores.ravel(), (np.repeat(np.arange(n), k), labels.ravel())), shape=truth.shape)
    jobs: dict[str, Callable[[], object]] = {
        "measure, all metrics at 1, 3, 5": lambda: measure(top, truth, inverse_propensity=weights),
        "measure, P@k only": lambda: measure(top, truth, which="P"),
        "hits, numba": by("cpu", lambda: hits(labels, truth)),
        "hits, plain": by("plain", lambda: hits(labels, truth)),
        "best_gains, numba": by("cpu", lambda: best_gains(truth, weights, k)),
        "best_gains, plain": by("plain", lambda: best_gains(truth, weights, k)),
        "apply_filter, a pair in 10 texts": lambda: apply_filter(top, pairs, k - 2),
        "topk_from_csr": lambda: topk_from_csr(flat, k),
    }
    size = f"N={n} k={k} L={options.labels} nnz={truth.nnz}"
    rows = []
    for name, job in jobs.items():
        first, usual = seconds(job)
        rows.append((name, {"first, s": f"{first:.3f}", "then, s": f"{usual:.3f}"}))
        if not options.no_record:
            record.row("metrics", size, name, usual, "s")
    print(f"{size}\n{record.machine()}; {record.versions()}\n")
    print(table(rows, ["first, s", "then, s"], title="one call"))


if __name__ == "__main__":
    main()
