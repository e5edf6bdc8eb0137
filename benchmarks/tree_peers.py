"""Runs the clustering of PECOS or Omikuji on the same features; started by tree.py in their environment.

python tree_peers.py pecos|omikuji FOLDER DEPTH CORES

Needs numpy and scipy, and libpecos or omikuji; prints one line of JSON.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import resource
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import scipy.sparse as sp


def features(folder: Path) -> sp.csr_matrix:
    parts = [np.load(folder / f"{name}.npy") for name in ("data", "indices", "indptr")]
    return sp.csr_matrix(tuple(parts), shape=tuple(np.load(folder / "shape.npy")))


def peak() -> float:
    """The peak memory of this program in MiB; getrusage would include that of the parent process."""
    status = Path("/proc/self/status")
    if not status.exists():
        return math.nan
    lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
    return int(lines["VmHWM"].split()[0]) / 1024


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def pecos(folder: Path, depth: int, cores: int) -> dict[str, object]:
    """HierarchicalKMeans with defaults: balanced spherical 2-means, up to 20 rounds per node, no sampling."""
    from pecos.xmc.base import HierarchicalKMeans

    x = features(folder)
    leaf = math.ceil(x.shape[0] / (1 << depth))
    before, busy, start = peak(), cpu(), time.perf_counter()
    chain = HierarchicalKMeans.gen(x, max_leaf_size=leaf, nr_splits=2, min_codes=2, threads=cores)
    took, busy = time.perf_counter() - start, cpu() - busy
    np.save(folder / "leaf.npy", sp.csr_matrix(chain[-1]).indices)
    return {
        "who": f"libpecos {version('libpecos')}",
        "leaves": chain[-1].shape[1],
        "seconds": took,
        "cpu": busy,
        "before": before,
        "peak": peak(),
    }


def omikuji(folder: Path, depth: int, cores: int) -> dict[str, object]:
    """A Parabel tree over texts that are the label features, one text per label, with one round of its solver.

    Omikuji cannot run its clustering alone (`tree_structure_only` panics in 0.5.1 and 0.5.2). The time is that
    from "Start training forest" to "Model training complete" in its log: clustering, assigning texts to nodes and
    one round of each node's classifiers, without reading the texts and computing the label centroids.
    """
    x = features(folder)
    n, path = x.shape[0], folder / "omikuji.txt"
    with path.open("w", encoding="ascii") as file:
        file.write(f"{n} {x.shape[1]} {n}\n")
        for label in range(n):
            part = slice(x.indptr[label], x.indptr[label + 1])
            pairs = zip(x.indices[part].tolist(), x.data[part].tolist(), strict=True)
            file.write(f"{label} " + " ".join([f"{column}:{value:.6g}" for column, value in pairs]) + "\n")
    del x
    log = folder / "omikuji.log"
    real = os.dup(1)
    os.dup2(os.open(log, os.O_CREAT | os.O_WRONLY), 1)  # its log is written to standard output
    from omikuji import Model, _ThreadPoolHandle, ffi, lib

    settings = Model.default_hyper_param()
    settings.n_trees, settings.max_depth = 1, depth
    settings.min_branch_size = math.ceil(n / (1 << depth)) + 1
    settings.linear_max_iter, settings.linear_weight_threshold = 1, 1e9  # keeps no weight
    pool = _ThreadPoolHandle(cores)
    data = lib.load_omikuji_data_set(ffi.new("char[]", str(path).encode()), pool.ptr)
    path.unlink()
    before, busy = peak(), cpu()
    model = Model(lib.train_omikuji_model(data, settings, pool.ptr))
    busy = cpu() - busy
    assert model.n_trees == 1
    os.dup2(real, 1)
    times = {}
    for line in log.read_text().splitlines():
        for sign in ("Start training forest", "Model training complete"):
            if sign in line:
                times[sign] = datetime.datetime.fromisoformat(line.split()[0])
    took = times["Model training complete"] - times["Start training forest"]
    return {
        "who": f"omikuji {version('omikuji')}",
        "seconds": took.total_seconds(),
        "cpu": busy,  # includes the centroids
        "before": before,
        "peak": peak(),
    }


if __name__ == "__main__":
    job, where, depth, cores = sys.argv[1:]
    print(json.dumps({"pecos": pecos, "omikuji": omikuji}[job](Path(where), int(depth), int(cores))))
