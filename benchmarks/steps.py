"""Steps of the benchmarks that take milliseconds to seconds, which `against.py` compares between two checkouts.

    python benchmarks/steps.py dense_head

Reads names of steps, one per line, and prints the CPU seconds of each step; the first line of its output lists all
names. Each checkout runs its own copy of this file, so that it must follow changes of the interfaces.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import record  # noqa: F401  sets how threads wait, before torch is imported
import torch

Step = Callable[[], object]


def dense_head() -> dict[str, Step]:
    import dense_head as at

    ways = [name for name in at.WAYS if name.startswith("ours")]
    return {f"{name}, B={n}": at.WAYS[name](n, 30_000, 256) for name in ways for n in (512, 64)}


def sparse_head() -> dict[str, Step]:
    import sparse_head as at

    return {name: at.OURS[name][0](50_000) for name in at.OURS}


def cascade() -> dict[str, Step]:
    import cascade as at

    size = {"dim": 384, "texts": 64, "beams": [64], "levels": 0}
    kinds = ("adamw", "sgd")
    return {kind: at.made("ours", 100_000, argparse.Namespace(optimizer=kind, **size))[0] for kind in kinds}


def beam() -> dict[str, Step]:
    import beam as at

    sizes = [2**10, 2**13, 2**16, 300_000]
    tables, offsets, order = at.planted(sizes, 384)
    x, _ = at.queries(tables[-1], 256, 3, 5.0)
    found: dict[str, Step] = {}
    for width in (10, 100):
        search = at.BeamSearch(tables, [None] * len(sizes), offsets, order, [width] * len(offsets))
        found[f"256 texts one by one, beam {width}"] = lambda f=search: [f(x[i : i + 1], 10) for i in range(256)]
        found[f"256 texts at once, beam {width}"] = lambda f=search: f(x, 10)
    return found


def tree() -> dict[str, Step]:
    import tree as at

    x = at.planted_features(20_000, 100, 50_000)
    labels = at.planted_texts(20_000, 20_000, 5)
    graph = at.walk_counts(labels, walk_length=100)
    return {
        "balanced_tree": lambda: at.balanced_tree(x, [6, 9]),
        "walk_counts": lambda: at.walk_counts(labels, walk_length=100),
        "product_keep_largest": lambda: at.product_keep_largest(graph, x, 200),
        "keep_largest": lambda: at.keep_largest(x, 50),
    }


def linear() -> dict[str, Step]:
    import linear as at

    corpus = at.Corpus.bundled("wordnet-4k")
    corpus = replace(corpus, train=at.Split(corpus.train.texts[:6000], corpus.train.labels[:6000]))
    model = at.from_preset("linear", corpus).solve(lambda line: None)
    x = model.text.transform(list(corpus.test.texts))
    return {
        "train": lambda: at.from_preset("linear", corpus).solve(lambda line: None),
        "predict from features": lambda: at.ranked(model, x),
    }


BENCHMARKS = {f.__name__: f for f in (dense_head, sparse_head, cascade, beam, tree, linear)}


def main() -> None:
    torch.set_num_threads(1)
    steps = BENCHMARKS[sys.argv[1]]()
    for step in steps.values():
        step()
    print(json.dumps(list(steps)), flush=True)
    for name in sys.stdin:
        start = time.process_time()
        steps[name.rstrip("\n")]()
        print(time.process_time() - start, flush=True)


if __name__ == "__main__":
    main()
