"""Accuracy and time per text of long texts as a whole and in chunks, and the time of very long ones.

    python benchmarks/long_texts.py DATA/eurlex-4.3k --every 9 --test-every 3

Every ninth training text and every third test text are taken (all by default). Two kinds of runs are trained,
which hold out a tenth of the training texts:

- "linear" and "renee bag" on whole texts; the recipe chunked chooses on the held-out texts;
- "linear, titles" and "renee bag, titles" on the first 12 words of each text. Chunks are chosen on the *whole*
  texts of the rows that were held out, since texts to predict are whole too.

Of each run the rows on the test set are "whole", the model as it is; "chosen", what the recipe chunked made of it;
and two fixed ways, "mean" (chunks of `--words` words; of a quarter as many for titles) and "first", the first such
chunk alone. Settings that `linear` would choose are fixed (words and bigrams, C = 1), so that the runs differ in
nothing else.

"ms/text" is the CPU time of one call of `topk(texts, 5)` for 200 test texts on one thread; all ways take turns
three times, and the fastest turn counts. "latency" rows are single texts of 1,000 to 100,000 words, made of test
texts one after the other: median and 99% of the CPU milliseconds of 100 calls (20 for 100,000 words), as a whole,
in chunks, and with at most 20 chunks.
"""

from __future__ import annotations

import argparse
import itertools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import record  # first, as it decides how threads wait
import torch
from data_sets import opened, set_name

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.inputs.chunks import Chunking
from megalabel.models.base import Classifier
from megalabel.models.chunked import ChunkedClassifier
from megalabel.recipes import from_preset
from megalabel.recipes.chunked import chunked
from megalabel.training.run_folder import held_out_rows

FIXED = {"token_pattern": "letters", "bigrams": "yes", "bigram_weight": 1.0, "char_ngrams": "no", "c": 1.0}
TITLE = 12  # words
METRICS = ("P@1", "P@5", "PSP@5")
HELD_OUT = 0.1
TIMED, TURNS = 200, 3
LENGTHS = ((1_000, 100), (10_000, 100), (100_000, 20))  # words, and calls
MOST_CHUNKS = 20


def in_memory(data: Corpus, texts: Sequence[str], rows: np.ndarray, every: int) -> Corpus:
    """A corpus of some training rows, with other texts, and of every n-th test text."""

    def lists(labels: Any) -> list[list[int]]:
        return [labels.indices[a:b].tolist() for a, b in itertools.pairwise(labels.indptr)]

    tested = np.arange(0, len(data.test), every)
    return Corpus.of(
        list(texts), lists(data.train.labels[rows]), list(data.label_texts),
        test_texts=list(data.test.texts[tested]), test_labels=lists(data.test.labels[tested]), name=data.name,
    )  # fmt: skip


def trained(recipe: str, data: Corpus, out: Path, **options: Any) -> Classifier:
    """The model of a run on the data."""
    return megalabel.train(from_preset(recipe, data, validation_fraction=HELD_OUT, **options), out, quiet=True)


def ways(model: Classifier, choosing: Corpus, run: Path, words: int) -> dict[str, Classifier]:
    """The model over whole texts, over the chunks that the recipe chooses, and over two fixed kinds."""
    found = {
        "whole": model,
        "chosen": chunked(choosing, run=str(run)).solve(print),
        "mean": ChunkedClassifier(model, Chunking(words), "mean"),
        "first": ChunkedClassifier(model, Chunking(words, max_chunks=1), "mean"),
    }
    for one in found.values():
        if isinstance(one, ChunkedClassifier):
            one.say = lambda line: None
    return found


def measured(name: str, models: dict[str, Classifier], data: Corpus) -> None:
    """Writes rows of the accuracy and time of each way on the test set."""
    times = {way: float("inf") for way in models}
    for _, (way, model) in itertools.product(range(TURNS), models.items()):
        begun = time.process_time()
        model.topk(data.test.texts[:TIMED], 5)
        times[way] = min(times[way], 1000 * (time.process_time() - begun) / min(TIMED, len(data.test.texts)))
    for way, model in models.items():
        cut = f" ({model.chunking}, {model.pooling})" if isinstance(model, ChunkedClassifier) else ""
        size = f"{name}, {way}{cut}"
        scores = megalabel.evaluate(model, data)
        print(size, {m: round(scores[m], 2) for m in METRICS}, f"{times[way]:.2f} ms", flush=True)
        for metric in METRICS:
            record.row("long_texts", size, metric, scores[metric], "%")
        record.row("long_texts", size, "ms/text", times[way], "ms CPU")


def latencies(name: str, model: Classifier, data: Corpus, words: int) -> None:
    """Writes rows of the time of single texts of several lengths."""
    stream = " ".join(data.test.texts).split()
    bounded = ChunkedClassifier(model, Chunking(words, max_chunks=MOST_CHUNKS))
    bounded.say = lambda line: None
    shapes = {
        "whole": model,
        f"chunks of {words} words": ChunkedClassifier(model, Chunking(words)),
        f"at most {MOST_CHUNKS} chunks of {words} words": bounded,
    }
    for (length, calls), (shape, made) in itertools.product(LENGTHS, shapes.items()):
        spent = []
        for i in range(calls + 3):
            start = (i * 997) % max(len(stream) - length, 1)
            text = [" ".join(stream[start : start + length])]
            begun = time.process_time()
            made.topk(text, 5)
            spent.append(1000 * (time.process_time() - begun))
        size = f"{name}, {length:,} words, {shape}"
        median, high = np.quantile(spent[3:], [0.5, 0.99]).tolist()
        print(size, f"{median:.1f} ms, 99% {high:.1f} ms", flush=True)
        record.row("long_texts", size, "median", median, "ms CPU")
        record.row("long_texts", size, "99%", high, "ms CPU")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--every", type=int, default=1, help="take every n-th training text")
    parser.add_argument("--test-every", type=int, default=1, help="take every n-th test text")
    parser.add_argument("--words", type=int, default=200, help="of the fixed chunks and those of the latencies")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs/long_texts"), help="folder of the runs; finished ones are read"
    )
    parser.add_argument("--epochs", type=int, default=10, help="of the bag")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    data = opened(arguments.data)
    rows = np.arange(0, len(data.train), arguments.every)
    name = set_name(arguments.data) + (f" ({len(rows):,} texts)" if arguments.every > 1 else "")
    texts = list(data.train.texts[rows])
    whole, tested = (in_memory(data, texts, rows, every) for every in (1, arguments.test_every))
    titles = in_memory(data, [" ".join(text.split()[:TITLE]) for text in texts], rows, 1)
    kinds = {"linear": ("linear", FIXED), "renee bag": ("renee", {"encoder": "bag", "epochs": arguments.epochs})}
    for shown, (recipe, options) in kinds.items():
        run = arguments.runs / f"{recipe}-titles"
        model = trained(recipe, titles, run, **options)
        held = held_out_rows(run)
        choosing = in_memory(data, [texts[i] for i in held], rows[held], 1)
        measured(f"{name} {shown}, titles", ways(model, choosing, run, arguments.words // 4), tested)
    for shown, (recipe, options) in kinds.items():
        model = trained(recipe, whole, arguments.runs / recipe, **options)
        if recipe == "linear":
            latencies(f"{name} linear", model, tested, arguments.words)
        measured(f"{name} {shown}", ways(model, whole, arguments.runs / recipe, arguments.words), tested)


if __name__ == "__main__":
    main()
