"""Measures indexes over label vectors: recall@5 of scoring every label, time per text, and time to build.

python benchmarks/index.py [--labels 670000] [--dim 384] [--texts 1000] [--run RUN] [--peers PYTHON] [--note NOTE]

Label vectors are made in two levels of clusters, of lengths that vary by a fifth; a text is the direction of a
label and noise. With `--run` they are the label vectors of a trained run, repeated with a little noise up to the
number of labels, and the texts are vectors of that run's training texts. Half of the texts choose the width, the
other half are measured.

All times are CPU seconds of one thread, since a machine may be shared: "texts/s" is texts per CPU second, and
"one text" the median and the 99th percentile of texts searched one by one. PYTHON is that of an
environment with faiss-cpu or libpecos, whose HNSW searches the same vectors to the same recall (`index_peers.py`).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import numpy as np
import torch
from record import row

from megalabel.index.base import LabelIndex, LabelTable
from megalabel.index.measure import exact_topk, interval, narrowest, recall_of
from megalabel.index.scan import ScanIndex
from megalabel.index.tree import TreeIndex
from megalabel.types import TopK

K, RECALL, BATCH = 5, 0.99, 256
SINGLE = {"exact": 20, "int8": 50, "tree": 1000}  # texts that are searched one by one


def synthetic(n: int, dim: int, n_texts: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Label vectors (n, D) in clusters of clusters, and texts (n_texts, D) near to some of them."""
    draw = np.random.default_rng(seed)
    n_top, n_sub = max(2, round((n / 64) ** 0.5)), max(2, n // 64)
    top = draw.standard_normal((n_top, dim), dtype=np.float32)
    sub = top[draw.integers(n_top, size=n_sub)] + draw.standard_normal((n_sub, dim), dtype=np.float32)
    w = sub[draw.integers(n_sub, size=n)]
    for start in range(0, n, 65536):
        part = w[start : start + 65536]
        part += draw.standard_normal(part.shape, dtype=np.float32)
        part *= np.exp(0.2 * draw.standard_normal((len(part), 1))).astype(np.float32) / (3 * dim) ** 0.5
    x = w[draw.integers(n, size=n_texts)]
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return w, x + draw.standard_normal(x.shape, dtype=np.float32) / dim**0.5


def of_run(run: str, n: int, n_texts: int) -> tuple[np.ndarray, np.ndarray]:
    """The label vectors of a run, repeated with noise, and the vectors of some of its training texts."""
    import megalabel
    from megalabel.cli.arguments import open_data_of

    model, corpus = megalabel.load(run), open_data_of(run, None)
    table = model.head.label_table()
    own = table.rows(np.arange(table.weight.shape[0]))
    draw = np.random.default_rng(0)
    rows = np.sort(draw.permutation(len(corpus.train))[:n_texts])
    with torch.no_grad():
        x = model.head.queries(torch.from_numpy(model.encode(list(corpus.train.texts[rows])))).float().numpy()
    w = own[np.arange(n) % len(own)]
    noise = 0.3 * own.std(axis=0)
    for start in range(len(own), n, 65536):
        part = w[start : start + 65536]
        part += noise * draw.standard_normal(part.shape, dtype=np.float32)
    return w, x


def timed(search, x: torch.Tensor, n_single: int) -> tuple[TopK, dict[str, float]]:
    """The rankings of a search, texts per CPU second in batches, and CPU milliseconds of single texts."""
    search(x[:BATCH]), search(x[:1])
    begun = time.process_time()
    parts = [search(part) for part in x.split(BATCH)]
    seconds = time.process_time() - begun
    single = []
    for i in range(min(n_single, len(x))):
        begun = time.process_time()
        search(x[i : i + 1])
        single.append(1e3 * (time.process_time() - begun))
    found = TopK(torch.cat([p.ids for p in parts]), torch.cat([p.scores for p in parts]))
    p50, p99 = np.percentile(single, [50, 99]) if single else (np.nan, np.nan)
    return found, {"texts/s": len(x) / seconds, "one text p50": float(p50), "one text p99": float(p99)}


def show(size: str, kind: str, figures: dict[str, float]) -> None:
    """Prints and records the figures of a kind."""
    units = {"recall@5": "", "low": "", "texts/s": "1/s", "built": "s", "MB": "MB", "times exact": ""}
    print(kind, {name: float(f"{value:.4g}") for name, value in figures.items()}, flush=True)
    for name, value in figures.items():
        if np.isfinite(value):
            row("index", size, f"{kind}: {name}", float(value), units.get(name, "ms"))


def ours(size: str, table: LabelTable, x: torch.Tensor, kinds: list[str]) -> TopK:
    """Measures scores of all labels and our indexes; returns the exact rankings of the texts measured."""
    tuned, held = x[0::2], x[1::2]
    truth = exact_topk(table, tuned, K)
    exact, base = timed(lambda part: table.exact(part, K), held, SINGLE["exact"])
    show(size, "exact", base)
    for kind in kinds:
        begun = time.process_time()
        index: LabelIndex = TreeIndex.build(table, K) if kind == "tree" else ScanIndex.build(table, K)
        built = time.process_time() - begun
        index = narrowest(index, table, tuned, K, truth, RECALL)
        found, figures = timed(lambda part, index=index: index.topk(table, part, K), held, SINGLE[kind])  # type: ignore[misc]
        recall = recall_of(found, exact)
        n_bytes = sum(array.nbytes for level in index.search.levels for array in level)
        facts = {"recall@5": recall, "low": interval(recall, len(held))[0], **figures, "built": built}
        ratio = figures["texts/s"] / base["texts/s"]
        show(size, kind, {**facts, "MB": n_bytes / 1e6, "times exact": ratio})
        print("  beams", index.search.beams, flush=True)
    return exact


def peers(size: str, python: str, w: np.ndarray, x: torch.Tensor, exact: TopK) -> None:
    """Measures other libraries on the same vectors."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        np.save(folder / "weights.npy", w)
        np.save(folder / "texts.npy", x[1::2].numpy())
        np.save(folder / "exact.npy", exact.ids.numpy())
        for who in ("faiss", "pecos"):
            command = [python, str(Path(__file__).with_name("index_peers.py")), who, name]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                print(who, done.stderr.strip().splitlines()[-1:])
                continue
            for line in done.stdout.splitlines():
                found = json.loads(line)
                show(size, found.pop("who"), found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=670_000)
    parser.add_argument("--dim", type=int, default=384)
    parser.add_argument("--texts", type=int, default=1000)
    parser.add_argument("--kinds", nargs="*", default=["tree", "int8"])
    parser.add_argument("--run")
    parser.add_argument("--peers")
    parser.add_argument("--note", default="", help='added to the size of the rows, such as "shared machine"')
    given = parser.parse_args()
    torch.set_num_threads(1)
    made = of_run(given.run, given.labels, given.texts) if given.run else None
    w, texts = made or synthetic(given.labels, given.dim, given.texts)
    size = f"L={len(w)} D={w.shape[1]} {'trained' if given.run else 'synthetic'} {given.note}".strip()
    table, x = LabelTable(torch.from_numpy(w), None), torch.from_numpy(texts)
    exact = ours(size, table, x, given.kinds)
    if given.peers:
        peers(size, given.peers, w, x, exact)


if __name__ == "__main__":
    main()
