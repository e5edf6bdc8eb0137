"""Stored types of the weights of `linear`: held-out accuracy, model size and time of prediction.

    python benchmarks/linear_weights.py DATA/wordnet-4k DATA/gutenberg-4k DATA/eurlex-4.3k [--choose]

A fifth of the training texts, at most 5,000, is held out; the test side is not read. One model per data set is
trained on the others, and its weights are then stored in each type, so that all differences are due to it.
"wide" is the form of models before there were stored types: float32 and positions of 4 bytes. Prediction is that
of given features, on one thread; a query is one of 500 texts one at a time. MB are 10⁶ bytes.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import record  # first, as it decides how threads wait
import torch
from linear import ranked
from linear_peers import batch, busy, one_by_one, queries, size_on_disk

from megalabel.data.corpus import Corpus, Split
from megalabel.inference.evaluate import evaluate
from megalabel.inputs.batches import hold_out
from megalabel.kernels.linear.compact_chunks import StoredWeights, compact
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.linear import tree as module
from megalabel.models.linear import LinearClassifier
from megalabel.recipes import get

METRICS = ("P@1", "P@5", "PSP@1")
HELD_OUT = 0.2
PLAIN: dict[str, Any] = {"token_pattern": "letters", "bigram_weight": 1.0, "char_ngrams": "no", "c": 1.0}


def parts(folder: str) -> Corpus:
    """The training texts that are kept as training side, and those held out as test side."""
    data = Corpus.open(folder)
    kept, held = hold_out(len(data.train), HELD_OUT, 0)

    def of(rows: np.ndarray) -> Split:
        features = None if data.train.features is None else data.train.features[rows]
        return Split(data.train.texts[rows], data.train.labels[rows], features=features)

    return replace(data, train=of(kept), test=of(held))


def stored(model: LinearClassifier, kind: str) -> LinearClassifier:
    """A model whose wide chunks are stored in another type."""
    if kind == "wide":
        return model
    trees = [
        SparseBeam([compact(level, kind) for level in tree.levels], tree.order, tree.beams, tree.post_processor)  # type: ignore[arg-type]
        for tree in model.trees
    ]
    return LinearClassifier(model.text, trees, model.label_texts)


def measure(folder: str, options: argparse.Namespace) -> None:
    data, name = parts(folder), Path(folder).name
    recipe: Any = get("linear")(data, **({} if options.choose else PLAIN))
    module.compact = lambda chunks, kind: chunks  # type: ignore[assignment]
    wide = recipe.solve(lambda line: print(line, flush=True))
    module.compact = compact
    x = wide.text.transform(data.test.texts)
    for kind in ("wide", *get_args(StoredWeights)):
        model = stored(wide, kind)
        scores = evaluate(model, data, k=(1, 5))
        found = {metric: scores[metric] for metric in METRICS}
        with tempfile.TemporaryDirectory() as place:
            model.save(Path(place) / "model")
            found["model MB"] = size_on_disk(Path(place) / "model")
            found["trees MB"] = sum(f.stat().st_size for f in (Path(place) / "model").glob("tree*.npy")) / 1e6
        found |= busy(lambda model=model: ranked(model, batch(x)), batch(x).shape[0])  # type: ignore[misc]
        asked = queries(x)
        found |= one_by_one(lambda query, model=model: ranked(model, query), asked, "one query")  # type: ignore[misc]
        shown = ", ".join(f"{metric} {value:.5g}" for metric, value in found.items())
        print(f"{name} {kind}: {shown}", flush=True)
        for metric, value in found.items():
            unit = "%" if "@" in metric else metric.split()[-1]
            if not options.no_record:
                record.row("linear_weights", f"{name} {kind}", metric, value, unit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+", help="folders of data sets")
    parser.add_argument(
        "--choose", action="store_true", help="as `linear` does; otherwise words, bigrams and C = 1"
    )
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(1)
    for folder in options.data:
        measure(folder, options)


if __name__ == "__main__":
    main()
