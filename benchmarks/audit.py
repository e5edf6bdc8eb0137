"""Audits data sets with planted errors: precision of the surest findings, time and memory.

    python benchmarks/audit.py [--seed N] [--share F] DATA...

DATA is a folder or bundled:NAME. A share of the pairs of a text and a label (5%) is changed: a third gets another
label in place of its own, a third loses it, and to the texts of a third a label is added. Labels are drawn
uniformly. Findings are right if they name a planted error; errors that were in the data before count as wrong.
Rare labels are those with at most as many texts as the median label.
"""

from __future__ import annotations

import argparse
import resource
import time
from dataclasses import replace

import numpy as np
import record
import scipy.sparse as sp
from data_sets import opened

from megalabel.audit.audit import audit
from megalabel.audit.finding import LabelFinding
from megalabel.data.corpus import Corpus

FIRST = 100


def planted(data: Corpus, share: float, seed: int) -> tuple[Corpus, set[tuple[str, int, int]]]:
    """The data with errors, and what each is: kind of the finding, row, label."""
    random = np.random.default_rng(seed)
    labels = data.train.labels.tocsr()
    n, n_labels = labels.shape
    rows = np.repeat(np.arange(n), np.diff(labels.indptr))
    keys = rows.astype(np.int64) * n_labels + labels.indices
    chosen = random.permutation(len(keys))[: int(share * len(keys))]
    swapped, removed, added = np.array_split(chosen, 3)
    gone = keys[np.concatenate([swapped, removed])]
    changed = np.concatenate([swapped, added])
    new = np.setdiff1d(rows[changed] * np.int64(n_labels) + random.integers(0, n_labels, len(changed)), keys)
    left = np.concatenate([np.setdiff1d(keys, gone), new])
    noisy = sp.csr_matrix((np.ones(len(left), np.float32), (left // n_labels, left % n_labels)), labels.shape)
    errors = {("wrong", int(k // n_labels), int(k % n_labels)) for k in new}
    errors |= {("missing", int(k // n_labels), int(k % n_labels)) for k in gone}
    return replace(data, train=replace(data.train, labels=noisy)), errors


def precision(found: list[LabelFinding], errors: set[tuple[str, int, int]]) -> float:
    """The share of the first findings that are planted errors, in percent."""
    first = found[:FIRST]
    return 100 * sum((f.kind, f.row, f.label_id) in errors for f in first) / max(len(first), 1)


def measured(name: str, share: float, seed: int) -> None:
    data = opened(name)
    noisy, errors = planted(data, share, seed)
    counts = np.bincount(noisy.train.labels.indices, minlength=data.n_labels)
    rare = counts <= np.median(counts[counts > 0])
    before, cpu = time.perf_counter(), time.process_time()
    found = audit(noisy, kinds=["wrong", "missing"], most=20_000, seed=0, say=lambda line: print(line, flush=True))
    wall, cpu = time.perf_counter() - before, time.process_time() - cpu
    size = f"{data.name} {len(data.train):,} texts {data.n_labels:,} labels, {100 * share:g}% errors, seed {seed}"
    lists = {
        "all": found,
        "wrong": [f for f in found if f.kind == "wrong"],
        "missing": [f for f in found if f.kind == "missing"],
        "rare labels": [f for f in found if rare[f.label_id]],
    }
    for what, some in lists.items():
        record.row("audit", size, f"precision@{FIRST} {what}", precision(some, errors), "%")
        print(size, what, precision(some, errors), flush=True)
    record.row("audit", size, "audit s", wall, "s")
    record.row("audit", size, "audit CPU s", cpu, "s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    record.row("audit", size, "peak memory", peak, "MB")
    print(size, f"{wall:.1f} s, {cpu:.1f} s CPU, {peak:.0f} MB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--share", type=float, default=0.05)
    options = parser.parse_args()
    for name in options.data:
        measured(name, options.share, options.seed)


if __name__ == "__main__":
    main()
