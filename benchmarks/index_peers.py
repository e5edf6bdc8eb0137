"""Builds and searches HNSW of faiss or PECOS on label vectors; started by index.py in their environment.

python index_peers.py faiss|pecos FOLDER

Reads weights.npy (L, D), texts.npy (n, D) and exact.npy (n, 5), and prints a line of JSON for the least width of
the search that reaches a recall@5 of 0.99, or for the largest tried. Times are CPU seconds of one thread.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import numpy as np

K, RECALL = 5, 0.99
WIDTHS = (20, 40, 80, 160, 320, 640)
LINKS, EFFORT = 32, 80


def faiss_search(w: np.ndarray):
    """A graph over vectors made of equal length, so that distances rank as inner products do."""
    import faiss

    faiss.omp_set_num_threads(1)
    squares = np.einsum("ij,ij->i", w, w)
    points = np.hstack([w, np.sqrt(np.maximum(squares.max() - squares, 0))[:, None]]).astype(np.float32)
    graph = faiss.IndexHNSWFlat(points.shape[1], LINKS)
    graph.hnsw.efConstruction = EFFORT
    graph.add(points)

    def search(x: np.ndarray, width: int) -> np.ndarray:
        graph.hnsw.efSearch = width
        return graph.search(np.hstack([x, np.zeros((len(x), 1), np.float32)]), K)[1]

    return f"faiss {faiss.__version__} HNSW", search


def pecos_search(w: np.ndarray):
    """The graph of PECOS by inner products."""
    from importlib.metadata import version

    from pecos.ann.hnsw import HNSW

    train = HNSW.TrainParams(M=LINKS, efC=EFFORT, metric_type="ip", threads=1)
    options = HNSW.PredParams(efS=WIDTHS[0], topk=K, threads=1)
    model = HNSW.train(w, train, options)
    searchers = model.searchers_create(1)

    def search(x: np.ndarray, width: int) -> np.ndarray:
        asked = HNSW.PredParams(efS=width, topk=K, threads=1)
        return model.predict(x, pred_params=asked, searchers=searchers, ret_csr=False)[0].astype(np.int64)

    return f"pecos {version('libpecos')} HNSW", search


def main() -> None:
    who, folder = sys.argv[1], Path(sys.argv[2])
    w, x, exact = (np.load(folder / f"{name}.npy") for name in ("weights", "texts", "exact"))
    begun = time.process_time()
    name, search = {"faiss": faiss_search, "pecos": pecos_search}[who](w)
    built = time.process_time() - begun
    for width in WIDTHS:
        begun = time.process_time()
        found = search(x, width)
        seconds = time.process_time() - begun
        recall = float((found[:, :, None] == exact[:, None, :]).any(1).mean())
        if recall >= RECALL:
            break
    single = []
    for i in range(len(x)):
        begun = time.process_time()
        search(x[i : i + 1], width)
        single.append(1e3 * (time.process_time() - begun))
    p50, p99 = np.percentile(single, [50, 99])
    figures = {"recall@5": recall, "texts/s": len(x) / seconds, "one text p50": p50, "one text p99": p99}
    print(json.dumps({"who": name, **figures, "built": built}))


if __name__ == "__main__":
    main()
