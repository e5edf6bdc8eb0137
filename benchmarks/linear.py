"""Compares the recipe `linear` with PECOS XR-Linear and Omikuji: accuracy, CPU seconds, prediction time, memory.

    python benchmarks/linear.py bundled:wordnet-4k DATA/gutenberg-4k --peers PEERS_PYTHON

PEERS_PYTHON is the Python of an environment with libpecos and omikuji; without it only `linear` runs. Every tool
trains in one process and predicts in another, one after the other, on ONE thread unless --threads is given, since
its CPU seconds do not depend on how well a tool uses several cores. All tools use three trees.

- `linear` is `megalabel train linear SET` with the committed preset, without compiling or loading its kernels (by
  a training on 500 texts) and reading the data set; "features" is learning the vocabulary, computing TF-IDF and
  deciding about label texts, "solve" everything else: label features, clustering, solving.
- Other tools use TF-IDF of words and bigrams from `megalabel.inputs.sparse_text`, up to 1,000,000 features, with
  the token pattern --peer-split ("letters", the recipe's default; for some data sets the preset of `linear`
  differs). "solve" is their training from this matrix in memory, without reading or computing it.
- If training texts show that it helps, `linear` uses label texts as additional rows, which no other tool does.
  `linear-texts` is the recipe without them, so that all tools learn from the same texts.
- `pecos` averages three seeds (weight threshold 0.1, its default; `pecos-t01`: 0.01), `omikuji-parabel` is
  Omikuji's default with three trees, `omikuji-bonsai` is unbalanced with k = 100 and depth 3. Omikuji has no seed:
  its scores vary by some tenths between runs.
- All scores are computed by `megalabel.metrics`, beam 10; other tools predict enough labels to remove filter
  pairs.
- "predict": CPU seconds for 1,000 texts with given features in one batch, top 5, the median of five. For PECOS
  only the calls of the three models count, without averaging, in the faster of two layouts; Omikuji predicts one
  text at a time. For megalabel it includes everything after the features, with the mean over trees.
- "one query": 500 texts with given features one at a time; median, 99th percentile and mean CPU time, for PECOS
  without averaging; "one text": the same from raw text, megalabel only. Other load affects the first two.
- "peak MB" is that of training (VmHWM of the process before anything is saved), with the interpreter and all
  imports, for megalabel with the texts; MB are 10⁶ bytes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import record  # first, as it decides how threads wait
import scipy.sparse as sp
import torch
from data_sets import opened, set_name
from linear_peers import TOP, batch, busy, megabytes, one_by_one, queries, size_on_disk
from recorded import recorded

from megalabel.data.corpus import Corpus, Split
from megalabel.inputs.sparse_text import SparseText
from megalabel.kernels.sparse.merge_topk import merge_topk
from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.ranking import measure
from megalabel.metrics.table import METRICS, table
from megalabel.metrics.topk import apply_filter, topk_from_csr
from megalabel.models.linear import DEEP, LinearClassifier
from megalabel.recipes import from_preset
from megalabel.types import TopK

OURS = {"linear": {}, "linear-texts": {"label_texts": "no"}}
CONTENDERS = ("linear", "pecos", "omikuji-parabel", "omikuji-bonsai")
COLUMNS = (*METRICS, "features CPU s", "solve CPU s", "predict CPU s/1k", "one query µs", "peak MB", "model MB")
WARM_UP = 500  # texts
TOLERANCE = 0.3  # points below the recorded peers that are allowed


def features(data: Corpus, folder: Path, split: str) -> dict[str, Any]:
    """Writes what the peers read: training and test texts as TF-IDF, labels, and Omikuji's file."""
    cpu = time.process_time()
    text = SparseText.learn(data.train.texts, vocabulary=1_000_000, pattern=split)
    x, y = text.transform(data.train.texts), data.train.labels
    cpu = time.process_time() - cpu
    sp.save_npz(folder / "trn_x.npz", x)
    sp.save_npz(folder / "trn_y.npz", y)
    sp.save_npz(folder / "tst_x.npz", text.transform(data.test.texts))
    with (folder / "omikuji.txt").open("w", encoding="ascii") as file:
        file.write(f"{x.shape[0]} {x.shape[1]} {y.shape[1]}\n")
        for row in range(x.shape[0]):
            part = slice(x.indptr[row], x.indptr[row + 1])
            pairs = zip(x.indices[part].tolist(), x.data[part].tolist(), strict=True)
            labels = ",".join(map(str, y.indices[y.indptr[row] : y.indptr[row + 1]].tolist()))
            file.write(" ".join([labels, *(f"{column}:{value:.6g}" for column, value in pairs)]) + "\n")
    return {"features": x.shape[1], "weights a text": x.nnz / x.shape[0], "CPU s": cpu}


def train(data: Corpus, folder: Path, who: str) -> dict[str, Any]:
    """The recipe itself: its lines tell when its features are made."""
    cut = Split(data.train.texts[:WARM_UP], data.train.labels[:WARM_UP])
    from_preset("linear", replace(data, train=cut), **OURS[who]).solve(lambda line: None)
    times: dict[str, float] = {}
    cpu, start = time.process_time(), time.perf_counter()
    recipe = from_preset("linear", data, **OURS[who])
    model = recipe.solve(lambda line: times.setdefault(line.split()[0], time.process_time()))
    end, wall = time.process_time(), time.perf_counter() - start
    found = {"features CPU s": times["features"] - cpu, "solve CPU s": end - times["features"], "train s": wall}
    found["peak MB"] = megabytes()
    model.save(folder / who)
    return {"who": "megalabel", **found, "train CPU s": end - cpu, "model MB": size_on_disk(folder / who)}


def predict(data: Corpus, folder: Path, who: str) -> dict[str, Any]:
    """Writes the best labels of the test texts, and measures times with the memory-mapped weights in memory."""
    model = LinearClassifier.load(folder / who)
    texts = list(data.test.texts)
    labels, scores = model.topk(texts, TOP, exclude=data.test.filter).numpy()
    np.savez(folder / f"{who}.npz", labels=labels, scores=scores)
    x = model.text.transform(texts)
    some, asked = batch(x), queries(x)
    found = busy(lambda: ranked(model, some), some.shape[0])
    found |= one_by_one(lambda query: ranked(model, query), asked, "one query")
    places = np.arange(len(asked)) * len(texts) // len(asked)
    return found | one_by_one(lambda text: model.topk([text], TOP), [texts[i] for i in places], "one text")


def ranked(model: LinearClassifier, x: sp.csr_matrix) -> TopK:
    """`LinearClassifier.topk` on given features."""
    depth = TOP if len(model.trees) == 1 else DEEP * max(TOP, 10)
    return merge_topk([tree(x, depth) for tree in model.trees], TOP)


def best(who: str, folder: Path, data: Corpus) -> TopK:
    """The top 5 of the test texts, without the filter pairs."""
    if who in OURS:
        found = np.load(folder / f"{who}.npz")
        return TopK(found["labels"], found["scores"])
    scores = sp.load_npz(folder / f"{who}.npz").tocsr()
    top = topk_from_csr(scores, max(TOP, int(np.diff(scores.indptr).max())))
    pairs = np.empty((0, 2), dtype=np.int64) if data.test.filter is None else data.test.filter
    return apply_filter(top, pairs, TOP)


def scored(top: TopK, data: Corpus) -> dict[str, float]:
    counts = np.asarray(data.train.labels.sum(axis=0)).ravel()
    weights = inverse_propensity(counts, len(data.train), *data.propensity_constants)
    found = measure(top, data.test.labels, k=(1, 3, 5), inverse_propensity=weights, n_true=data.test.n_true())
    return {metric: found[metric] for metric in METRICS}


def child(command: Sequence[str], threads: int) -> dict[str, Any]:
    """The JSON in the last line of a process's output; empty if it failed."""
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **dict.fromkeys(names, str(threads))}
    )
    if done.returncode:
        print(f"{' '.join(command[1:])} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return {}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def compare(path: str, options: argparse.Namespace, folder: Path) -> None:
    """Runs every tool on one data set; prints rows, a table and a comparison."""
    data, name, threads = opened(path), set_name(path), options.threads
    again = [sys.executable, __file__, path, "--threads", str(threads), "--peer-split", options.peer_split]
    pairs = data.test.filter
    width = 0 if pairs is None or not len(pairs) else int(np.bincount(pairs[:, 0]).max())
    contenders = [who for who in options.contenders if who in OURS or options.peers]
    if not OURS.keys() >= set(contenders):
        print(f"{name}: the peers' features:", child([*again, "--child", "features", str(folder), ""], threads))
    results: dict[str, dict[str, float]] = {}
    for who in contenders:
        command = [options.peers, str(Path(__file__).with_name("linear_peers.py"))]
        found: dict[str, Any] = {}
        for job in ("train", "predict"):
            end = [job, who, str(folder), str(threads), str(width)]
            own = [*again, "--child", job, str(folder), who]
            told = child(own if who in OURS else [*command, *end], threads)
            found |= told
        if not told:
            continue
        label = who if who in OURS or options.peer_split == "letters" else f"{who}, {options.peer_split}"
        results[label] = scored(best(who, folder, data), data) | found
        print(
            f"{name} {label}:",
            ", ".join(f"{k} {v:.5g}" if k != "who" else v for k, v in results[label].items()),
            flush=True,
        )
        for metric, value in results[label].items():
            if metric != "who" and not options.no_record:
                unit = "%" if "@" in metric else metric.split()[-1]
                record.row("linear", f"{name} {label}", metric, float(value), unit)
    print(f"\n{table(list(results.items()), COLUMNS, title=f'{name}, {threads} threads')}\n")
    print("\n".join(verdicts(name, results)), "\n", flush=True)


def verdicts(name: str, results: dict[str, dict[str, float]]) -> list[str]:
    """Compares `linear` with the recorded tools and those of this run."""
    ours, lines = results.get("linear"), []
    if ours is None:
        return []
    peers = [row for row in recorded(name) if row[0].startswith(("omikuji", "pecos-ens3"))]
    for metric in ("P@1", "P@5", "PSP@5"):
        if peers:
            tool, values = max(peers, key=lambda row: row[1][metric])
            over = ours[metric] - values[metric]
            met = "met" if over >= -TOLERANCE else "MISSED"
            lines.append(f"{metric} {ours[metric]:.2f}: {over:+.2f} to {tool} as recorded, {met}")
    for who, theirs in results.items():
        if who in OURS:
            continue
        solve, whole = (ours[key] / theirs["solve CPU s"] for key in ("solve CPU s", "train CPU s"))
        batched = ours["predict CPU s/1k"] / theirs["predict CPU s/1k"]
        lines.append(
            f"CPU against {who}: {solve:.2f} of its training, {whole:.2f} with our features counted and its not; "
            f"{batched:.2f} of its prediction; P@1 {ours['P@1'] - theirs['P@1']:+.2f}, "
            f"P@5 {ours['P@5'] - theirs['P@5']:+.2f}, PSP@5 {ours['PSP@5'] - theirs['PSP@5']:+.2f}"
        )
    return [f"{name}: {line}" for line in lines]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--peers", help="Python of an environment with libpecos and omikuji")
    parser.add_argument(
        "--contenders", nargs="+", default=CONTENDERS, choices=(*CONTENDERS, "linear-texts", "pecos-t01")
    )
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--peer-split", default="letters", help="how the peers' texts are split into words")
    parser.add_argument("--no-record", action="store_true")
    parser.add_argument("--child", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.child:
        (job, where, who), data = options.child, opened(options.data[0])
        work = {"features": features, "train": train, "predict": predict}[job]
        told = work(data, Path(where), options.peer_split if job == "features" else who)
        print(json.dumps({**told, f"{job} process CPU s": time.process_time()}))
        return
    print(f"{record.machine()}; {record.versions()}; {options.threads} threads\n")
    for path in options.data:
        with tempfile.TemporaryDirectory() as scratch:
            compare(path, options, Path(scratch))


if __name__ == "__main__":
    main()
