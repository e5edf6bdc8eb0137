"""Accuracy and time per text of hybrids with and without search and learned merge, and of the recipe retrieval.

    python benchmarks/retrieval.py DATA/wordnet-4k RUNS/wordnet-4k DATA/metamath RUNS/metamath

Pairs of a data set and a finished run with an encoder and held-out texts. A hybrid is trained once with the preset
of the set; its mixture, its boosted merge without neighbors, and that with neighbors are then measured on the test
set, with the same trees:

- "mixture": calibrated scores with weights, `--merge mixture`;
- "boosted": boosted trees over the rankings and over labels that occur together, `--merge boosted --neighbors no`;
- "neighbors": the trees also see the nearest texts and label documents, `--merge boosted --neighbors yes`;
- "auto": what `--merge auto --neighbors auto` chose of these on the held-out texts.

"µs/text" is the CPU time of `topk(texts, 5)` for the test texts (2,000 at most) in one call on one thread, from
raw texts, the median of five; "one text µs" that of calls with one text, the median of 200.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import record  # first, as it decides how threads wait
import torch
from linear import corpus
from quality import set_name

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.data.filters import filter_of
from megalabel.metrics.table import METRICS
from megalabel.models.base import Classifier
from megalabel.models.hybrid import HybridClassifier
from megalabel.models.mixture import DEPTH
from megalabel.recipes import from_preset
from megalabel.recipes.merging import choose_merge
from megalabel.recipes.trained import trained_run
from megalabel.retrieval.index import RetrievalIndex

TIMED, ONES = 2000, 200


def with_merge(model: HybridClassifier, data: Corpus, run: str, neighbors: str) -> HybridClassifier:
    """The hybrid with the same trees and another merge, fitted on the texts that the run held out."""
    _, kept, held = trained_run(run, data)
    side, parts = data.train, (model.base_model, model.text, model.joint_trees, model.word_trees)
    made = HybridClassifier(*parts, model.scale, model.mixture)
    if neighbors == "mixture":
        return made
    index = rebuilt(model, data, kept) if neighbors == "yes" else None
    found = made.search(side.texts[held], DEPTH, filter_of(side, held), 256, index)
    labels = side.labels[held], side.labels[kept]
    choose_merge(made, found, index, *labels, merge="boosted", neighbors=neighbors, say=print)
    return made


def rebuilt(model: HybridClassifier, data: Corpus, kept: np.ndarray) -> RetrievalIndex:
    """The index of the training rows of a hybrid."""
    from megalabel.linear.label_texts import MIN_PRECISION, add_label_text_rows, label_text_precision
    from megalabel.models.hybrid import whole_words

    x, named = (model.text.transform(t) for t in (data.train.texts[kept], data.label_texts))
    labels = data.train.labels[kept]
    if label_text_precision(x, labels, named) < MIN_PRECISION:
        named = model.text.transform([])
    x, labels, rows = add_label_text_rows(x, labels, named)
    return RetrievalIndex.build(whole_words(model.text, x), labels, np.concatenate([kept, -1 - rows]))


def timed(model: Classifier, texts: Sequence[str]) -> dict[str, float]:
    """CPU microseconds per text, in one batch and one by one."""
    some = texts[: min(TIMED, len(texts))]
    model.topk(some, 5)
    batch = [cpu(model, some) / len(some) for _ in range(5)]
    ones = [cpu(model, some[i : i + 1]) for i in range(min(ONES, len(some)))]
    return {"µs/text": 1e6 * statistics.median(batch), "one text µs": 1e6 * statistics.median(ones)}


def cpu(model: Classifier, texts: Sequence[str]) -> float:
    """CPU seconds of a call."""
    begun = time.process_time()
    model.topk(texts, 5)
    return time.process_time() - begun


def measured(name: str, model: Classifier, data: Corpus) -> None:
    """Evaluates a model on the test set and appends rows."""
    found = {**megalabel.evaluate(model, data), **timed(model, data.test.texts)}
    print(name, {metric: round(found[metric], 2) for metric in (*METRICS, "µs/text", "one text µs")}, flush=True)
    for metric in (*METRICS, "µs/text", "one text µs"):
        record.row("retrieval", name, metric, float(found[metric]), "%" if "@" in metric else "µs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pairs", nargs="+", metavar="DATA RUN")
    parser.add_argument("--keep", type=Path, help="a folder for the trained hybrids; default: not saved")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for at in range(0, len(arguments.pairs), 2):
        source, run = arguments.pairs[at : at + 2]
        data, name = corpus(source), set_name(source)
        measured(f"{name} retrieval", from_preset("retrieval", data).solve(print), data)
        saved = arguments.keep / name if arguments.keep else None
        if saved and saved.is_dir():
            model = megalabel.load(saved)
        else:
            model = from_preset("hybrid", data, run=run).solve(print)
            if saved:
                model.save(saved)
        chosen = "mixture" if model.index is None else "neighbors" if model.index.n_features else "boosted"
        print(f"{name}: auto is {chosen}")
        record.row("retrieval", f"{name} hybrid auto", "is", chosen, "")
        for called, neighbors in (("mixture", "mixture"), ("boosted", "no"), ("neighbors", "yes")):
            measured(f"{name} hybrid {called}", with_merge(model, data, run, neighbors), data)


if __name__ == "__main__":
    main()
