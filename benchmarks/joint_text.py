"""An experiment: a sparse head over TF-IDF features, added to the score of the embedding and trained jointly.

    python benchmarks/joint_text.py bundled:wordnet-4k --seeds 0 1 --record
    python benchmarks/joint_text.py bundled:wordnet-4k --seeds 0 1 --rate 0.3 --ways features --record
    python benchmarks/joint_text.py DATA/metamath --ways embedding joint linear "embedding beside linear" --record

    z[b, l] = bias[l] + w_l · embedding[b] + Σ_j v[l, j] · tfidf[b, inputs[l, j]],   one BCE of z over all labels

The first part is the dense head of the preset of `renee` for the bag encoder, with its learning rates; the second
part has F inputs per label among the V most frequent features, and its own Adam. The inputs are the strongest
features of a label over its training texts (as in `fan_in/strongest_inputs.py`, here on sparse rows), or random
ones. "rewired": at regular intervals, the weakest fifth of the connections is replaced by the features with the
largest gradients over the previous batches; all V features are candidates, since few pairs of text and label have
a relevant error. "beside linear" is the baseline of joint training: the probabilities of the separately trained
embedding and of the recipe `linear`, summed with a weight that is chosen by nDCG@5 on the other half of the
validation rows. "joint beside linear" measures whether the joint layer still improves on this.

All scores are computed after the last step on a validation split of 5% of the training set, a different one per
seed. CPU seconds are those of training, including features. "head MB" is the memory of the weights, inputs and
optimizer states of the label layers in MB (10⁶ bytes); for the linear model, of its weights.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from typing import Any, NamedTuple, cast

import numpy as np
import scipy.sparse as sp
import torch
from data_sets import opened, set_name
from joint_layer import WATCHED, FanIn
from record import row
from torch import Tensor

from megalabel.inputs.augment import WithLabelTexts
from megalabel.inputs.batches import hold_out
from megalabel.inputs.sparse_text import SparseText
from megalabel.kernels.sparse.merge_topk import merge_topk
from megalabel.metrics.propensity import inverse_propensity
from megalabel.metrics.ranking import measure
from megalabel.metrics.table import table
from megalabel.models.neural import Model
from megalabel.recipes.linear import linear
from megalabel.recipes.presets import find
from megalabel.recipes.renee import renee
from megalabel.training.optim.groups import Optimizers
from megalabel.training.recipe import Recipe
from megalabel.types import TopK

METRICS = ("P@1", "P@5", "PSP@1", "PSP@5")
COLUMNS = (*METRICS, "train CPU s", "head MB")
DEPTH = 50  # labels of each ranking that are merged


class Way(NamedTuple):
    """Whether there is an embedding, how initial inputs of a sparse layer are chosen, and if they change."""

    embedding: bool = True
    inputs: str = ""
    rewired: bool = False


WAYS = {
    "embedding": Way(),
    "features": Way(embedding=False, inputs="strongest"),
    "joint": Way(inputs="strongest"),
    "joint, rewired": Way(inputs="strongest", rewired=True),
    "joint, random inputs": Way(inputs="random"),
    "joint, random inputs, rewired": Way(inputs="random", rewired=True),
}
BESIDE = " beside linear"
MERGED = [f"{name}{BESIDE}" for name in ("embedding", "joint")]


def scores(head: Any, fan_in: FanIn | None, views: Tensor | None, x: sp.csr_matrix | None) -> Tensor:
    """The sum of the scores of the existing parts: (L, B)."""
    z = head.bias[:, None]
    if views is not None:
        z = torch.addmm(z, head.weight, views.t())
    return z if fan_in is None else z + fan_in(x)


def features(made: Recipe, size: int, split: str) -> tuple[SparseText, sp.csr_matrix, sp.csr_matrix]:
    """The features learned from the training texts, and features and labels of all training rows."""
    side, rows = made.data.train, made.batches.rows
    texts = side.texts[np.setdiff1d(np.arange(len(side)), made.validation)]
    view = SparseText.learn(texts, vocabulary=size, pattern=cast("Any", split))
    parts = [view.transform(texts)]
    if isinstance(rows, WithLabelTexts):
        parts.append(view.transform(made.data.label_texts[rows.labels]))
    pairs = rows.positives(np.arange(len(rows)))
    labels = sp.csr_matrix((np.ones(len(pairs[0]), np.float32), pairs), shape=(len(rows), made.data.n_labels))
    return view, sp.vstack(parts, format="csr"), labels


def train(made: Recipe, way: Way, options: argparse.Namespace, split: str) -> tuple[TopK, float]:
    """The best labels of the validation rows, and the MB of the label layers with their optimizer states."""
    head, fan_in = cast("Any", made.head), None
    texts = made.data.train.texts[np.asarray(made.validation)]
    named: dict[str, Any] = {}
    if way.inputs:
        view, rows, labels = features(made, options.features, split)
        fan_in = FanIn(way.inputs, rows, labels, options.fan_in)
        named["features"] = torch.optim.Adam(fan_in.parameters(), lr=options.rate)
    dense = [head.bias, *([head.weight] if way.embedding else [])]
    rates = made.arguments
    named["head"] = torch.optim.SGD(dense, lr=rates["head_lr"], momentum=rates["head_momentum"])
    if way.embedding:
        named |= {name: made.optimizers[name] for name in ("encoder", "tokens")}
    optimizers, scaler = Optimizers(**named), torch.amp.GradScaler("cpu", enabled=False)
    every, until = max(1, made.batches.per_epoch // options.rewirings), 0.66 * made.batches.steps
    made.encoder.train()
    for batch in made.batches.from_step():
        torch.manual_seed(made.seed * 1_000_003 + batch.step)
        optimizers.follow(made.schedule, batch.step)
        views = made.encoder.views(batch)[:, 0] if way.embedding else None
        z = scores(head, fan_in, views, rows[batch.rows.numpy()] if fan_in else None)
        error = z.detach().sigmoid()  # the gradient of the summed BCE by z; its value is not needed
        error[batch.positives.labels, batch.positives.rows] -= 1
        z.backward(error)
        optimizers.step(scaler)
        if fan_in is not None and way.rewired and batch.step < until:
            left = -(batch.step + 1) % every
            if left < WATCHED:
                fan_in.watch(batch.rows.numpy(), error)
            if left == 0:
                moments = named["features"].state[fan_in.weight]
                fan_in.exchange(batch.step, [moments["exp_avg"], moments["exp_avg_sq"]])
    kept = [*dense, *optimizers.tensors("head")]
    kept += [] if fan_in is None else [fan_in.weight, fan_in.inputs, *optimizers.tensors("features")]
    size = sum(t.numel() * t.element_size() for t in kept) / 1e6

    views = torch.from_numpy(Model(made.encoder, head, made.data.label_texts, made.max_length).encode(texts)[:, 0])
    found = []
    with torch.no_grad():
        for some in torch.arange(len(texts)).split(256):
            x = view.transform(texts[some.numpy()]) if fan_in else None
            z = scores(head, fan_in.eval() if fan_in else None, views[some] if way.embedding else None, x)
            found.append(z.t().topk(DEPTH))
    return TopK(torch.cat([f.indices for f in found]), torch.cat([f.values for f in found]).sigmoid()), size


def merged(tops: list[TopK], truth: sp.csr_matrix, seed: int) -> tuple[TopK, list[float]]:
    """Merges two rankings, each half of the rows with the best weight of the other; returns both weights."""
    half = np.random.default_rng([seed, 2]).permutation(len(tops[0])) % 2 == 0
    blends = {float(w): merge_topk(tops, 5, [1 - w, w]).numpy() for w in np.linspace(0, 1, 21)}
    best, chosen = TopK(*(part.copy() for part in blends[0.0])), []
    for rows in (half, ~half):
        scored = {w: measure(TopK(*(x[~rows] for x in b)), truth[~rows])["nDCG@5"] for w, b in blends.items()}
        chosen.append(max(scored, key=scored.__getitem__))
        best.ids[rows], best.scores[rows] = (x[rows] for x in blends[chosen[-1]])
    return best, chosen


def of_seed(data: str, seed: int, options: argparse.Namespace) -> Iterator[tuple[str, dict[str, float]]]:
    """Scores and costs of each variant on the validation split of this seed."""
    corpus = opened(data)
    of_linear, of_bag = find(linear, corpus.name), find(renee, corpus.name, "bag")
    assert of_linear is not None and of_bag is not None
    short = {"epochs": options.epochs} if options.epochs else {}
    same: dict[str, Any] = {"validation_fraction": 0.05, "seed": seed}
    held = hold_out(len(corpus.train), 0.05, seed)[1]
    texts, truth = corpus.train.texts[held], corpus.train.labels[held]
    counts = np.asarray(corpus.train.labels.sum(axis=0)).ravel()
    gains = inverse_propensity(counts, len(corpus.train), *corpus.propensity_constants)
    done: dict[str, tuple[TopK, float, float]] = {}
    for name in options.ways:
        begun = time.process_time()
        if name in WAYS:
            made = renee(corpus, **{**of_bag.arguments, **short, **same})
            top, size = train(made, WAYS[name], options, of_linear.arguments.get("token_pattern", "letters"))
        elif name == "linear":
            model = cast("Any", linear(corpus, **{**of_linear.arguments, **same}).solve(lambda line: None))
            arrays = [a for tree in model.trees for level in tree.levels for a in level.arrays.values()]
            top, size = model.topk(texts, DEPTH), sum(a.nbytes for a in arrays) / 1e6
        else:
            both = [done[name.removesuffix(BESIDE)], done["linear"]]
            top, weights = merged([found for found, _, _ in both], truth, seed)
            begun, size = begun - sum(seconds for _, seconds, _ in both), sum(size for _, _, size in both)
            print(f"the linear model's weights: {weights}")
        done[name] = top, time.process_time() - begun, size
        scored = measure(top, truth, k=(1, 5), inverse_propensity=gains)
        yield name, {m: scored[m] for m in METRICS} | {"train CPU s": done[name][1], "head MB": size}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="+")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument(
        "--ways", nargs="+", default=[*WAYS, "linear", *MERGED], help="merged ones after their two"
    )
    parser.add_argument("--fan-in", type=int, default=64)
    parser.add_argument("--features", type=int, default=50_000, help="V, those of most texts")
    parser.add_argument("--rate", type=float, default=0.03, help="of the fan-in layer's Adam")
    parser.add_argument("--rewirings", type=int, default=1, help="an epoch, in the first two thirds of the run")
    parser.add_argument("--epochs", type=int, help="default: the preset's")
    parser.add_argument("--record", action="store_true", help="append rows to results.csv")
    options = parser.parse_args()
    told = f"F={options.fan_in}, rate {options.rate:g}" + f", {options.epochs} epochs" * bool(options.epochs)
    for data in options.data:
        figures: dict[str, list[dict[str, float]]] = {}
        for seed in options.seeds:
            for name, values in of_seed(data, seed, options):
                figures.setdefault(name, []).append(values)
                print(
                    table([(f"{name}, seed {seed}", values)], COLUMNS, title=f"{set_name(data)} {told}"),
                    flush=True,
                )
                for metric, value in values.items() if options.record else ():
                    unit = "%" if "@" in metric else metric.split()[-1]
                    row("joint_text", f"{set_name(data)} {name}, {told}, seed {seed}", metric, value, unit)
        means = {name: {m: statistics.mean(v[m] for v in of) for m in of[0]} for name, of in figures.items()}
        print(table(list(means.items()), COLUMNS, title=f"{set_name(data)}, mean of {len(options.seeds)}"))


if __name__ == "__main__":
    main()
