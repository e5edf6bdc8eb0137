"""Time of building a label tree: walks, smoothing and clustering, the last compared with PECOS and Omikuji.

python benchmarks/tree.py [--labels 670000] [--peers PYTHON] [--only cluster] [--no-record]

The data are synthetic: topics of 50 labels; half of the features of a label are from the words of its topic, half
from all words by Zipf's law. Each tool runs in a separate process on the same arrays, one after the other.
`--peers` is the Python of an environment with libpecos and omikuji; without it only megalabel runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import record
import scipy.sparse as sp
import torch
from tree_peers import cpu, features, peak

from megalabel.kernels.clustering.balanced_split import balanced_tree
from megalabel.kernels.clustering.label_walks import walk_counts
from megalabel.kernels.core import dispatch
from megalabel.kernels.sparse.sparse_rows import keep_largest, product_keep_largest

TOPIC = 50


def planted_features(n: int, per_label: int, n_words: int, seed: int = 0) -> sp.csr_matrix:
    """(n, n_words) float32, `per_label` features per label, TF-IDF-like values, randomly ordered."""
    rng = np.random.default_rng(seed)
    zipf = np.cumsum(1 / np.arange(1, n_words + 1))
    name = rng.permutation(n_words).astype(np.int32)  # the word of each rank
    topics = rng.integers(0, n_words, (max(1, n // TOPIC), 4 * per_label))
    drawn = per_label // 2 + 1 + per_label // 4  # more than are kept, as there are duplicates
    parts = []
    for first in range(0, n, 20_000):
        m = min(20_000, n - first)
        topic = rng.integers(0, len(topics), (m, 1))
        own = topics[topic, rng.integers(0, topics.shape[1], (m, drawn))]
        common = np.searchsorted(zipf, rng.random((m, drawn)) * zipf[-1])
        ranks = np.sort(np.concatenate([own, common], axis=1), axis=1)
        chance = rng.random(ranks.shape)
        chance[:, 1:][ranks[:, 1:] == ranks[:, :-1]] = 2  # excludes duplicates
        kept = (chance <= np.partition(chance, per_label - 1)[:, per_label - 1 : per_label]) & (chance < 2)
        ranks = ranks[kept]
        values = (rng.exponential(1, len(ranks)) + 0.1) * np.log(2 + ranks)
        indptr = np.concatenate([[0], kept.sum(axis=1).cumsum()])
        parts.append(sp.csr_matrix((values.astype(np.float32), name[ranks], indptr), shape=(m, n_words)))
        parts[-1].sort_indices()
    return sp.vstack(parts, format="csr")


def planted_texts(n: int, n_labels: int, per_text: float, seed: int = 1) -> sp.csr_matrix:
    """(n, n_labels): labels of a text are neighbors of its first label or, equally often, from a long tail."""
    rng = np.random.default_rng(seed)
    counts = 1 + rng.poisson(per_text - 1, n)
    tail = np.cumsum(np.arange(1, n_labels + 1) ** -0.6)
    drawn = np.searchsorted(tail, rng.random(counts.sum()) * tail[-1])
    first = np.repeat(drawn[np.cumsum(counts) - counts], counts)
    near = (first + rng.integers(0, 20, len(first))) % n_labels
    labels = rng.permutation(n_labels)[np.where(rng.random(len(first)) < 0.5, near, drawn)]
    pairs = (np.ones(len(labels), dtype=np.float32), (np.repeat(np.arange(n), counts), labels))
    return sp.csr_matrix(pairs, shape=(n, n_labels))


def mean_similarity(x: sp.csr_matrix, leaf: np.ndarray) -> float:
    """The mean over labels of the cosine between a label and the center of its leaf."""
    norms = np.sqrt(np.asarray(x.multiply(x).sum(axis=1))).ravel()
    order = np.argsort(leaf, kind="stable")
    cuts = np.flatnonzero(np.diff(leaf[order], prepend=-1))
    total = 0.0
    for a in range(0, len(cuts), 2048):
        start, end = cuts[a], cuts[a + 2048] if a + 2048 < len(cuts) else len(order)
        labels = order[start:end]
        member = np.repeat(np.arange(len(cuts[a : a + 2048])), np.diff(np.append(cuts[a : a + 2048], end)))
        mean = sp.csr_matrix((1 / norms[labels], (member, np.arange(len(labels))))) @ x[labels]
        total += np.sqrt(np.asarray(mean.multiply(mean).sum(axis=1))).sum()
    return total / len(order)


def ours(folder: Path, depths: list[int]) -> dict[str, object]:
    """The measurements of the child process, without compilation."""
    x = features(folder)
    with dispatch.use("cpu"):
        balanced_tree(x[:3000], [8])
    before, busy, start = peak(), cpu(), time.perf_counter()
    order, offsets = balanced_tree(x, depths)
    took, busy = time.perf_counter() - start, cpu() - busy
    leaf = np.empty(len(order), dtype=np.int64)
    leaf[order] = np.repeat(np.arange(len(offsets[-1]) - 1), np.diff(offsets[-1]))
    np.save(folder / "leaf.npy", leaf)
    found = {"who": "megalabel", "leaves": len(offsets[-1]) - 1, "seconds": took, "cpu": busy}
    return {**found, "before": before, "peak": peak()}


def graph(folder: Path, texts: int, per_text: float, hops: int, keep: int) -> list[dict[str, object]]:
    """Walks, smoothing and pruning, each with the bytes that have to be read and written."""
    x = features(folder)
    labels = planted_texts(texts, x.shape[0], per_text)
    with dispatch.use("cpu"):
        walk_counts(labels[:1000, :1000].tocsr(), walk_length=2)
        product_keep_largest(sp.identity(100, dtype=np.float32, format="csr"), x[:100], 5)
        keep_largest(x[:100], 5)
    found: list[dict[str, object]] = []

    def timed(name: str, work, moved) -> sp.csr_matrix:  # type: ignore[no-untyped-def]
        busy, start = cpu(), time.perf_counter()
        result = work()
        row = {"who": name, "seconds": time.perf_counter() - start, "cpu": cpu() - busy, "peak": peak()}
        found.append({**row, "bytes": float(moved(result))})
        return result

    walkers = int((np.bincount(labels.indices, minlength=x.shape[0]) > 0).sum())
    a = timed(
        f"walk_counts, {hops} hops", lambda: walk_counts(labels, walk_length=hops), lambda _: walkers * hops * 8
    )
    read = np.diff(x.indptr)[a.indices].sum() * 8
    name = f"product_keep_largest, {keep} kept"
    timed(name, lambda: product_keep_largest(a, x, keep), lambda r: read + r.nnz * 8)
    name = "product_keep_largest, 1000 kept"
    whole = timed(name, lambda: product_keep_largest(a, x, 1000), lambda r: read + r.nnz * 8)
    timed(f"keep_largest, {keep} kept", lambda: keep_largest(whole, keep), lambda r: (whole.nnz + r.nnz) * 8)
    return found


def read_rate() -> float:
    """Bytes per second that all cores read together, measured by a sum over 512 MiB."""
    block, best = torch.ones(128 << 20), np.inf
    for _ in range(4):
        start = time.perf_counter()
        block.sum()
        best = min(best, time.perf_counter() - start)
    return block.nbytes / best


def child(command: list[str]) -> list[dict[str, object]]:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(f"{' '.join(command[1:3])} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return []
    found = json.loads(done.stdout.splitlines()[-1])
    return found if isinstance(found, list) else [found]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=670_000)
    parser.add_argument("--features", type=int, default=100, help="a label")
    parser.add_argument("--vocabulary", type=int, default=500_000)
    parser.add_argument("--depths", type=int, nargs="+", default=[10, 13, 16])
    parser.add_argument("--texts", type=int, default=485_000)
    parser.add_argument("--labels-per-text", type=float, default=5)
    parser.add_argument("--hops", type=int, default=400)
    parser.add_argument("--peers", help="Python of an environment with libpecos and omikuji")
    parser.add_argument("--only", choices=("cluster", "graph"))
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        torch.set_num_threads(len(os.sched_getaffinity(0)))  # as many as the other tools use
        job, folder = options.child
        if job == "ours":
            print(json.dumps(ours(Path(folder), options.depths)))
        else:
            texts, per_text = options.texts, options.labels_per_text
            print(json.dumps(graph(Path(folder), texts, per_text, options.hops, options.features)))
        return
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder), options)


def compare(folder: Path, options: argparse.Namespace) -> None:
    x = planted_features(options.labels, options.features, options.vocabulary)
    for name in ("data", "indices", "indptr", "shape"):
        np.save(folder / f"{name}.npy", getattr(x, name))
    rate, depth, cores = read_rate(), options.depths[-1], len(os.sched_getaffinity(0))
    size = f"L={options.labels} nnz={x.nnz} V={options.vocabulary} depth={depth}"
    print(f"{size}\n{record.machine()}; {record.versions()}; all cores read {rate / 1e9:.1f} GB/s\n")
    again = [sys.executable, __file__, *sys.argv[1:], "--child"]
    beside = [options.peers, str(Path(__file__).with_name("tree_peers.py"))]
    end = [str(folder), str(depth), str(cores)]
    jobs = {"ours": [*again, "ours", str(folder)], "graph": [*again, "graph", str(folder)]}
    if options.peers:
        jobs |= {"pecos": [*beside, "pecos", *end], "omikuji": [*beside, "omikuji", *end]}
    else:
        print("no --peers: PECOS and Omikuji are not measured")
    for job, command in jobs.items():
        if options.only and (job == "graph") != (options.only == "graph"):
            continue
        (folder / "leaf.npy").unlink(missing_ok=True)
        for found in child(command):
            name = str(found["who"]) if job == "graph" else f"clustering, {found['who']}"
            found["floor"] = float(found.get("bytes", depth * x.nnz * 8)) / rate
            if (folder / "leaf.npy").exists():
                found["similarity"] = mean_similarity(x, np.load(folder / "leaf.npy"))
            units = {"seconds": "s", "cpu": "s", "floor": "s", "peak": "MiB", "before": "MiB"}
            values = [(key, value) for key, value in found.items() if key not in ("who", "bytes")]
            print(
                f"{name}: " + ", ".join(f"{key} {value:.5g} {units.get(key, '')}".strip() for key, value in values)
            )
            for key, value in values:
                if not options.no_record:
                    record.row("tree", size, f"{name}, {key}", value, units.get(key, ""))


if __name__ == "__main__":
    main()
