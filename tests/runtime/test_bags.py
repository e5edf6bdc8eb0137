"""Bags in the runtime: the tokens, views, rankings and scores of the library."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import planted
from support.compiled_runtime import use

from megalabel.encoders.bag import Bag
from megalabel.exporting.export import export
from megalabel.heads.base import Head
from megalabel.heads.cascade import CascadeHead
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.heads.wrappers.partitioned import PartitionedHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.inputs.tokenizer import learn_tokenizer
from megalabel.labels.tree import LabelTree
from megalabel.models.neural import NeuralClassifier
from megalabel.runtime import load

DATA = planted(n_labels=40, n_texts=60, n_test=30)
TEXTS = [*DATA.test.texts, "", "nothing known", "w1a " * 40]
TREE = LabelTree((np.array([0, 2, 4]), np.array([0, 10, 19, 31, 40])), np.random.default_rng(1).permutation(40))
DIM = 19


def seeded() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def dense(weights: str = "float32", n: int = 40) -> DenseHead:
    return DenseHead(n, DIM, bias=True, init_std=1.0, weights=weights, generator=seeded())


def sparse(weights: str = "float32", n: int = 40, group: int = 16) -> SparseHead:
    return SparseHead(n, DIM, fan_in=5, group=group, init_scale=3.0, weights=weights, generator=seeded())


def cascade(weights: str = "float32", path_score: str = "label*parent", views: int = 1) -> CascadeHead:
    options = {"beams": (1, 3), "path_score": path_score, "n_views": views, "weights": weights}
    return CascadeHead(TREE, DIM, generator=seeded(), **options)


def parts() -> PartitionedHead:
    return PartitionedHead(
        [DenseHead(8, DIM, init_std=1.0, reduction="mean", generator=seeded()), sparse(n=32, group=1)],
        torch.randperm(40, generator=seeded()),
    )


HEADS = {
    **{
        f"dense {weights}": lambda weights=weights: dense(weights) for weights in ("float32", "bfloat16", "float8")
    },
    **{
        f"sparse {weights}": lambda weights=weights: sparse(weights)
        for weights in ("float32", "bfloat16", "float8")
    },
    **{
        f"cascade {weights}": lambda weights=weights: cascade(weights)
        for weights in ("float32", "bfloat16", "float8")
    },
    **{f"cascade {path}": lambda path=path: cascade(path_score=path) for path in ("label", "path", "decayed")},
    "cascade of views": lambda: cascade(views=3),
    "parts": parts,
    "projection": lambda: WithProjection(
        DenseHead(40, 7, init_std=1.0, generator=seeded()), DIM, activation="relu", generator=seeded()
    ),
}


def model(head: Head, **options) -> NeuralClassifier:
    torch.manual_seed(0)
    tokenizer = learn_tokenizer(DATA.train.texts, 60)
    bigrams = torch.tensor([2 * 60 + 3, 5 * 60 + 7, 9 * 60 + 2])
    weights = torch.rand(tokenizer.vocabulary_size + 3) + 0.5
    encoder = Bag(
        tokenizer,
        n_views=head.n_views,
        bigrams=bigrams,
        weights=weights,
        **({"dim": DIM, "hidden_dim": 8} | options),
    )
    with torch.no_grad():
        for tensor in encoder.parameters():
            tensor.normal_(generator=seeded())
    return NeuralClassifier(encoder, head, DATA.label_texts, 12).eval().settle()


def check(whole: NeuralClassifier, path, k: int = 8) -> None:
    ids, scores = whole.topk(TEXTS, k).numpy()
    found, close = load(path).topk(TEXTS, k), 2e-6 * max(1.0, float(np.abs(scores[ids >= 0]).max()))
    for row, values, own, own_values in zip(ids.tolist(), scores, found.ids, found.scores, strict=True):
        n = sum(label >= 0 for label in row)
        assert len(own) == n
        assert own_values == pytest.approx(values[:n].tolist(), rel=0, abs=close)
        wanted = dict(zip(row[:n], values[:n].tolist(), strict=True))
        for label, value in zip(own, own_values, strict=True):  # one that is missing is a near-tie with the last
            assert wanted.get(label, values[n - 1]) == pytest.approx(value, rel=0, abs=close)


@pytest.mark.parametrize("operations", ["plain", "compiled"])
@pytest.mark.parametrize("name", HEADS)
def test_rankings_of_each_head_are_those_of_the_library(name, operations, tmp_path, monkeypatch):
    use(monkeypatch, operations)
    whole = model(HEADS[name]())
    export(whole, tmp_path / "model.mlr")
    check(whole, tmp_path / "model.mlr")


@pytest.mark.parametrize("options", [{"hidden_dim": 0}, {"dim": 6, "width": DIM}])
def test_bags_without_blocks_and_with_other_widths_are_read(options, tmp_path):
    whole = model(cascade(views=3), **options)
    export(whole, tmp_path / "model.mlr")
    check(whole, tmp_path / "model.mlr")
