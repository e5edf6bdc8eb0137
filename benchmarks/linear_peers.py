"""Runs PECOS XR-Linear or Omikuji on features made by megalabel; started by linear.py in their environment.

python linear_peers.py train|predict pecos|pecos-t01|omikuji-parabel|omikuji-bonsai FOLDER THREADS WIDTH

Needs numpy and scipy, and libpecos or omikuji; prints one line of JSON. The settings are those of the recorded
scores, see `metrics/peers.toml`; all others are the defaults of the tool.
"""

from __future__ import annotations

import functools
import json
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from tree_peers import peak

TREES = 3
BEAM = 10
TOP = 5
DEPTH = 20  # labels asked of each PECOS model before three are averaged: its default, and what ours are asked for
BATCH, QUERIES, WARM, REPEATS = 1000, 500, 50, 5
THRESHOLDS = {"pecos": 0.1, "pecos-t01": 0.01}  # below it, a weight is dropped; 0.1 is the default
FORESTS = {"omikuji-parabel": {}, "omikuji-bonsai": {"cluster_balanced": False, "cluster_k": 100, "max_depth": 3}}
LAYOUTS = ("BINARY_SEARCH_CHUNKED", "HASH_CHUNKED")  # PECOS's of its weights; the default, and the other fast one


def batch(x: sp.csr_matrix) -> sp.csr_matrix:
    """1,000 texts, evenly spaced; all texts if there are fewer."""
    n = min(BATCH, x.shape[0])
    return x[np.arange(n) * x.shape[0] // n]


def queries(x: sp.csr_matrix) -> list[sp.csr_matrix]:
    """500 texts, evenly spaced, each a matrix of one row."""
    n = min(QUERIES, x.shape[0])
    return [x[i : i + 1] for i in (np.arange(n) * x.shape[0] // n).tolist()]


def busy(work: Callable[[], Any], n: int) -> dict[str, float]:
    """CPU seconds of all threads for 1,000 texts where `work` predicts n: the median of five, after one."""
    work()
    taken = []
    for _ in range(REPEATS):
        start = time.process_time()
        work()
        taken.append(time.process_time() - start)
    return {"predict CPU s/1k": statistics.median(taken) * 1000 / n}


def one_by_one(work: Callable[[Any], Any], asked: Sequence[Any], name: str) -> dict[str, float]:
    """Wall-clock microseconds of single queries, and the mean CPU time, after some queries to warm up."""
    for query in asked[:WARM]:
        work(query)
    cpu, taken = time.process_time(), []
    for query in asked:
        start = time.perf_counter()
        work(query)
        taken.append((time.perf_counter() - start) * 1e6)
    mean = (time.process_time() - cpu) / len(asked) * 1e6
    found = {"µs": statistics.median(taken), "99% µs": float(np.quantile(taken, 0.99)), "mean CPU µs": mean}
    return {f"{name} {key}": value for key, value in found.items()}


def megabytes() -> float:
    """The peak memory of this process in MB (10⁶ bytes)."""
    return peak() * 1.048576


def size_on_disk(folder: Path) -> float:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()) / 1e6


def train_pecos(name: str, folder: Path, threads: int) -> dict[str, Any]:
    """Trains three seeds on the same label features; CPU seconds include these, clustering and solving."""
    from pecos.xmc import Indexer, LabelEmbeddingFactory
    from pecos.xmc.xlinear.model import XLinearModel

    x, y = sp.load_npz(folder / "trn_x.npz"), sp.load_npz(folder / "trn_y.npz")
    cpu, start, models = time.process_time(), time.perf_counter(), []
    features = LabelEmbeddingFactory.create(y, x, method="pifa", threads=threads)
    for seed in range(TREES):
        chain = Indexer.gen(features, indexer_type="hierarchicalkmeans", seed=seed, threads=threads)
        models.append(XLinearModel.train(x, y, C=chain, threshold=THRESHOLDS[name], threads=threads))
    found = {"solve CPU s": time.process_time() - cpu, "train s": time.perf_counter() - start}
    found["peak MB"] = megabytes()
    for seed, model in enumerate(models):
        model.save(str(folder / name / f"seed{seed}"))
    return {"who": f"libpecos {version('libpecos')}", **found, "model MB": size_on_disk(folder / name)}


def predict_pecos(name: str, folder: Path, threads: int, width: int) -> dict[str, Any]:
    """Predicts the mean score of three models. Times are those of the models only, in the faster layout."""
    from pecos.utils.smat_util import CsrEnsembler
    from pecos.xmc.xlinear.model import XLinearModel

    x = sp.load_npz(folder / "tst_x.npz")
    some, found = batch(x), []
    for layout in LAYOUTS:
        models = [
            XLinearModel.load(str(folder / name / f"seed{seed}"), is_predict_only=True, weight_matrix_type=layout)
            for seed in range(TREES)
        ]
        ask = functools.partial(_asked, models, {"beam_size": BEAM, "threads": threads})
        told = busy(functools.partial(ask, DEPTH, some), some.shape[0])
        found.append({**told, **one_by_one(functools.partial(ask, DEPTH), queries(x), "one query")})
    mean = CsrEnsembler.average(*[sp.csr_matrix(part) for part in ask(DEPTH + width, x)])
    sp.save_npz(folder / f"{name}.npz", mean)
    return {key: min(told[key] for told in found) for key in found[0]}


def _asked(models: Sequence[Any], options: dict[str, int], depth: int, x: sp.csr_matrix) -> list[Any]:
    return [model.predict(x, only_topk=depth, **options) for model in models]


def train_omikuji(name: str, folder: Path, threads: int) -> dict[str, Any]:
    """Trains three trees; times do not include reading the file of texts."""
    from omikuji import Model, _ThreadPoolHandle, ffi, lib

    settings = Model.default_hyper_param()
    settings.n_trees = TREES
    for key, value in FORESTS[name].items():
        setattr(settings, key, value)
    pool = _ThreadPoolHandle(threads)
    data = lib.load_omikuji_data_set(ffi.new("char[]", str(folder / "omikuji.txt").encode()), pool.ptr)
    assert data != ffi.NULL, "omikuji did not read its texts"
    cpu, start = time.process_time(), time.perf_counter()
    model = Model(lib.train_omikuji_model(data, settings, pool.ptr))
    found = {"solve CPU s": time.process_time() - cpu, "train s": time.perf_counter() - start}
    found["peak MB"] = megabytes()
    model.save(str(folder / name))
    return {"who": f"omikuji {version('omikuji')}", **found, "model MB": size_on_disk(folder / name)}


def predict_omikuji(name: str, folder: Path, threads: int, width: int) -> dict[str, Any]:
    """Predicts one text at a time with densified weights, as its command line; preparing arrays is not timed."""
    from omikuji import Model, ffi, lib

    x = sp.load_npz(folder / "tst_x.npz")
    model = Model.load(str(folder / name))
    model.init_prediction_thread_pool(threads)
    model.densify_weights(0.1, threads)
    room = TOP + width
    labels, scores = ffi.new("uint32_t[]", room), ffi.new("float[]", room)

    def given(rows: Iterable[sp.csr_matrix]) -> list[tuple[int, Any, Any]]:
        return [
            (row.nnz, ffi.new("uint32_t[]", row.indices.tolist()), ffi.new("float[]", row.data.tolist()))
            for row in rows
        ]

    def ask(text: tuple[int, Any, Any], k: int = TOP) -> int:
        return int(lib.omikuji_predict(model._model_ptr, BEAM, *text, k, labels, scores, model._thread_pool.ptr))

    some = given(queries(batch(x)))
    found = one_by_one(ask, some, "one query")
    some = given(batch(x)[i] for i in range(min(BATCH, x.shape[0])))
    found |= busy(lambda: [ask(text) for text in some], len(some))
    ids, values, indptr = [], [], [0]
    for text in given(x[i] for i in range(x.shape[0])):
        n = ask(text, room)
        ids += list(labels[0:n])
        values += list(scores[0:n])
        indptr.append(len(ids))
    n_labels = int((folder / "omikuji.txt").open(encoding="ascii").readline().split()[2])
    sp.save_npz(folder / f"{name}.npz", sp.csr_matrix((values, ids, indptr), shape=(x.shape[0], n_labels)))
    return found


if __name__ == "__main__":
    job, name, where, threads, width = sys.argv[1:]
    tool = name.split("-")[0]
    if job == "train":
        told = {"pecos": train_pecos, "omikuji": train_omikuji}[tool](name, Path(where), int(threads))
    else:
        of = {"pecos": predict_pecos, "omikuji": predict_omikuji}[tool]
        told = of(name, Path(where), int(threads), int(width))
    print(json.dumps({**told, f"{job} process CPU s": time.process_time()}))
