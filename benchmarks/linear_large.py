"""The recipe `linear` at 670,000 labels: time, memory, model size and accuracy.

python benchmarks/linear_large.py [--trees 3] [--threads 2] [--weights int8] [--no-record]

The data are synthetic: a million training texts and 10,000 test texts, each with about 30 of 500,000 features and
5 labels. Labels belong to topics of 50; each has six features, half of them from the words of its topic. The first
label of a text follows Zipf's law; the others are from its topic or, equally often, follow the same law. A text
has two features of each label and twenty noise features by Zipf's law. The recipe gets them as bags of words
(TF-IDF), with its preset for any data set, so that no vocabulary is learned or saved; everything else is as for
texts.

Times do not include generating the data, but the peak memory does: it is that of the whole process before the
model is saved (VmHWM); the recipe holds two copies of the features besides those of the data set. Times do not
include compilation, since a small training runs first. The model is saved, its size is that of the folder, and
loaded again for prediction: "one query" is 500 texts one at a time on one thread with given features. Lower bound
of memory: 8 bytes per feature of a text, and the model. MB are 10⁶ bytes.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import record  # first, as it decides how threads wait
import scipy.sparse as sp
import torch
from linear import ranked
from linear_peers import batch, busy, megabytes, one_by_one, queries, size_on_disk

from megalabel.data.corpus import Corpus, Split
from megalabel.data.texts import Texts
from megalabel.inference.evaluate import evaluate
from megalabel.inputs.tfidf import weigh
from megalabel.models.linear import LinearClassifier
from megalabel.recipes import from_preset

TOPIC = 50  # labels
TOPIC_WORDS = 20
OWN, HEARD = 6, 2  # features of a label, and how many of them a text with the label has
NOISE = 20  # noise features of a text
FURTHER = 4.0  # mean number of labels of a text besides its first
HELD_OUT = 10_000
BLOCK = 50_000  # texts that are generated at a time


def draws(rng: np.random.Generator, exponent: float, n: int, shape: tuple[int, ...]) -> np.ndarray:
    """Random numbers below n, with the probability of i proportional to (i + 1)^(-exponent): int32."""
    sums = np.cumsum(np.arange(1, n + 1) ** -exponent)
    return np.minimum(np.searchsorted(sums, rng.random(shape) * sums[-1]), n - 1).astype(np.int32)


def made_up(n: int, n_labels: int, n_features: int) -> tuple[sp.csr_matrix, sp.csr_matrix]:
    """Counts (n, V) and labels (n, L), float32 CSR, with labels and features in random order."""
    rng = np.random.default_rng(0)
    topics = draws(rng, 0.5, n_features, (-(-n_labels // TOPIC), TOPIC_WORDS))
    topic_of = np.arange(n_labels) // TOPIC  # of labels before they are shuffled
    shared = topics[topic_of[:, None], rng.integers(0, TOPIC_WORDS, (n_labels, OWN // 2))]
    own = np.hstack([shared, draws(rng, 0.5, n_features, (n_labels, OWN - OWN // 2))])
    by_rank, named = rng.permutation(n_labels), rng.permutation(n_labels).astype(np.int32)
    parts = []
    for first in range(0, n, BLOCK):
        m = min(BLOCK, n - first)
        counts = 1 + rng.poisson(FURTHER, m)
        text = np.repeat(np.arange(m), counts)
        label = by_rank[draws(rng, 0.6, n_labels, (len(text),))]
        near = topic_of[label[np.cumsum(counts) - counts][text]] * TOPIC + rng.integers(0, TOPIC, len(text))
        near = np.where((rng.random(len(text)) < 0.5) & (near < n_labels), near, label)
        near[np.cumsum(counts) - counts] = label[np.cumsum(counts) - counts]
        heard = own[near[:, None], np.argsort(rng.random((len(text), OWN)), axis=1)[:, :HEARD]]
        noise = draws(rng, 1.0, n_features, (m, NOISE))
        rows = np.concatenate([np.repeat(text, HEARD), np.repeat(np.arange(m), NOISE)])
        parts.append(
            (
                _counted(rows, np.concatenate([heard.ravel(), noise.ravel()]), (m, n_features)),
                _counted(text, named[near], (m, n_labels)),
            )
        )
    x, labels = (sp.vstack(part, format="csr") for part in zip(*parts, strict=True))
    labels.data[:] = 1
    return x, labels


def _counted(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> sp.csr_matrix:
    """The number of occurrences of each column in each row."""
    found = sp.csr_matrix((np.ones(len(rows), dtype=np.float32), (rows, columns)), shape=shape)
    found.sum_duplicates()
    return found


def corpus_of(n: int, held: int, n_labels: int, n_features: int) -> Corpus:
    """n training and `held` test texts as TF-IDF with the idf of the training texts."""
    x, labels = made_up(n + held, n_labels, n_features)
    holding = np.bincount(x[:n].indices, minlength=n_features)
    x = weigh(x, (np.log((1 + n) / (1 + holding)) + 1).astype(np.float32))
    train = Split(Texts.blank(n), labels[:n], features=x[:n])
    return Corpus("made-up", train, Split(Texts.blank(held), labels[n:], features=x[n:]), Texts.numbers(n_labels))


def large(options: argparse.Namespace, folder: Path) -> None:
    n, trees = options.texts, options.trees
    from_preset("linear", corpus_of(3000, 3, 3000, 3000), trees=1).solve(lambda line: None)
    data = corpus_of(n, HELD_OUT, options.labels, options.features)
    size = f"L={data.n_labels} V={options.features} N={n} nnz={data.train.features.nnz} trees={trees}"
    size += f" threads={options.threads} weights={options.weights} prune={options.prune_below}"
    print(f"{size}\n{record.machine()}; {record.versions()}\n")
    before, cpu, start = megabytes(), time.process_time(), time.perf_counter()

    def tell(line: str) -> None:
        print(f"{line}; after {time.perf_counter() - start:.0f} s, peak {megabytes():,.0f} MB", flush=True)

    chosen = {"trees": trees, "weights": options.weights, "prune_below": options.prune_below}
    model = from_preset("linear", data, **chosen).solve(tell)
    found = {"train s": time.perf_counter() - start, "train CPU s": time.process_time() - cpu}
    found |= {"peak MB": megabytes(), "peak of the data MB": before}
    model.save(folder / "model")
    found["model MB"] = size_on_disk(folder / "model")
    model = LinearClassifier.load(folder / "model")
    scores = evaluate(model, data, k=(1, 5))
    found |= {metric: scores[metric] for metric in ("P@1", "P@5")}
    held = data.test.features
    found |= busy(lambda: ranked(model, batch(held)), batch(held).shape[0])
    torch.set_num_threads(1)
    found |= one_by_one(lambda query: ranked(model, query), queries(held), "one query")
    for metric, value in found.items():
        unit = "%" if "@" in metric else metric.split()[-1]
        print(f"{metric}: {value:.5g}")
        if not options.no_record:
            record.row("linear_large", size, metric, value, unit)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--labels", type=int, default=670_000)
    parser.add_argument("--features", type=int, default=500_000)
    parser.add_argument("--texts", type=int, default=1_000_000)
    parser.add_argument("--trees", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--weights", default="float32", choices=("float32", "bfloat16", "int8"))
    parser.add_argument("--prune-below", type=float, default=0.1)
    parser.add_argument("--no-record", action="store_true")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        large(options, Path(folder))


if __name__ == "__main__":
    main()
