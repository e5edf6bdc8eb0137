"""Linear models in the runtime: the features, rankings and probabilities of the library."""

from __future__ import annotations

import numpy as np
import pytest
from planted import planted
from support.compiled_runtime import use

from megalabel.data.texts import Texts
from megalabel.exporting.export import export
from megalabel.inputs.sparse_text import SparseText
from megalabel.kernels.linear.compact_chunks import compact
from megalabel.kernels.linear.sparse_beam import SparseBeam
from megalabel.linear.forest import solve_trees
from megalabel.models.linear import LinearClassifier
from megalabel.runtime import load
from megalabel.runtime.container import Container
from megalabel.runtime.features import WordFeatures

DATA = planted(n_labels=40, n_texts=500)
OTHERS = ["", "no such thing", "W3A w3b\0w3a", "naïve Ähre 文字 w5a w5b", "w1a " * 30, "\ud800 w2a"]


def fitted(text: SparseText, *, trees: int = 2, **options) -> LinearClassifier:
    x = text.transform(DATA.train.texts)
    options = {"depths": (1, 3), "cluster_features": 50, "seed": 0, "say": lambda line: None} | options
    return LinearClassifier(text, solve_trees(x, DATA.train.labels, trees=trees, **options), DATA.label_texts)


@pytest.fixture(scope="module")
def model():
    found = fitted(SparseText.learn([*DATA.train.texts, *OTHERS[3:4]], char_ngrams=(2, 3), pattern="words"))
    found.calibrate(list(DATA.test.texts), DATA.test.labels)
    assert found.calibration is not None
    return found


def compare(model, path, k=10):
    texts = [*DATA.test.texts, *OTHERS]
    ids, scores = model.topk(texts, k).numpy()
    found = load(path).topk(texts, k)
    for row, values, own, own_values in zip(ids, scores, found.ids, found.scores, strict=True):
        n = int((row >= 0).sum())
        assert len(own) == n
        assert own_values == pytest.approx(values[:n].tolist(), abs=1e-6)
        for a, b, value in zip(row[:n].tolist(), own, own_values, strict=True):
            assert a == b or values[row.tolist().index(b)] == pytest.approx(value, abs=1e-6)  # a near-tie


@pytest.mark.parametrize("operations", ["plain", "compiled"])
def test_rankings_are_those_of_the_library(model, operations, tmp_path, monkeypatch):
    use(monkeypatch, operations)
    export(model, tmp_path / "model.mlr")
    compare(model, tmp_path / "model.mlr")
    compare(model, tmp_path / "model.mlr", k=1)


@pytest.mark.parametrize("operations", ["plain", "compiled"])
@pytest.mark.parametrize("weights", ["float32", "bfloat16", "int8"])
def test_compact_trees_and_single_trees_are_read(model, operations, weights, tmp_path, monkeypatch):
    use(monkeypatch, operations)
    whole = model.trees[0]
    levels = [compact(level, weights, short_features=True) for level in whole.levels]
    small = LinearClassifier(model.text, [SparseBeam(levels, whole.order, (1, 3), "sigmoid")], model.label_texts)
    export(small, tmp_path / "model.mlr")
    compare(small, tmp_path / "model.mlr")


def test_features_of_each_token_pattern_are_those_of_the_library(tmp_path):
    texts = ["Ein naïver Text -> hier", "x² -> y_1 文字列 ☂ w3a", "Ähre ähre", "", "a-b. c!"]
    for pattern in ("letters", "words", "signs", "symbols"):
        text = SparseText.learn(texts, pattern=pattern, bigram_weight=0.5)
        x = text.transform(DATA.train.texts)
        trees = solve_trees(
            x,
            DATA.train.labels,
            trees=1,
            depths=(1,),
            cluster_features=9,
            seed=0,
            say=lambda line: None,
            max_iter=1,
        )
        export(LinearClassifier(text, trees, DATA.label_texts), tmp_path / "model.mlr")
        features = WordFeatures(Container(str(tmp_path / "model.mlr")))
        for row, given in zip(text.transform(texts), texts, strict=True):
            columns, values = features(given)
            assert list(columns) == row.indices.tolist()
            assert list(values) == pytest.approx(row.data.tolist(), abs=1e-7)


def test_probabilities_and_names_are_those_of_the_library(model, tmp_path):
    export(model, tmp_path / "model.mlr")
    found, texts = load(tmp_path / "model.mlr"), list(DATA.test.texts[:20])
    assert found.is_calibrated and found.answer_type() == "calibrated"
    for probabilities in (None, False):
        wanted = model.predict(texts, 12, probabilities=probabilities).to_list()
        for row, own in zip(wanted, found.predict(texts, 12, probabilities=probabilities), strict=True):
            assert [name for name, _ in own] == [name for name, _ in row]
            assert [score for _, score in own] == pytest.approx([score for _, score in row], abs=1e-6)
    few = found.predict(texts, 12, threshold=0.5)
    assert all(score >= 0.5 for row in few for _, score in row) and any(few)


def test_labels_of_any_unicode_are_read(tmp_path):
    model = fitted(SparseText.learn(DATA.train.texts), trees=1)
    model.label_texts = Texts.from_strings(["ü\n\x00" * i + "文" for i in range(len(model.label_texts))])
    export(model, tmp_path / "model.mlr")
    found = load(tmp_path / "model.mlr")
    assert [found.label(i) for i in range(found.n_labels)] == list(model.label_texts)
    assert np.unique(model.topk(["w1a"], 3).ids).size == 3
