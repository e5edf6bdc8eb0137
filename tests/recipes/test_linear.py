"""The linear recipe: it learns in one go, its folder comes back as it was, bad settings and folders are told."""

import json

import numpy as np
import pytest
from planted import planted

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, FormatError, SettingError
from megalabel.linear.forest import wide_depths
from megalabel.models.linear import LinearClassifier
from megalabel.recipes.linear import linear


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run."""
    out = tmp_path_factory.mktemp("linear") / "run"
    megalabel.train(linear(planted(), clusters=(4,)), out, quiet=True)
    return out


@pytest.mark.parametrize(
    "more", [{}, {"trees": 1, "post_processor": "sigmoid"}, {"clusters": (2, 16)}, {"char_ngrams": "yes"}]
)
def test_it_learns(more, tmp_path):
    data = planted()
    model = megalabel.train(linear(data, **{"clusters": (4,), **more}), tmp_path / "run", quiet=True)
    assert megalabel.evaluate(model, data)["P@1"] > 90


def test_it_comes_back(run):
    data = planted()
    model, again = linear(data, clusters=(4,)).solve(lambda line: None), megalabel.load(run)
    assert isinstance(again, LinearClassifier)
    for a, b in zip(model.topk(data.test.texts, 7).numpy(), again.topk(data.test.texts, 7).numpy(), strict=True):
        assert np.array_equal(a, b)
    assert model.predict(data.test.texts[:2], 3) == again.predict(data.test.texts[:2], 3)
    facts = json.loads((run / "recipe.json").read_text())
    assert facts["recipe"] == "linear"
    assert facts["arguments"]["trees"] == 3
    assert facts["finished"]["seconds"] >= 0


def test_lines_tell_what_is_made():
    said = []
    linear(planted(), clusters=(4,), trees=2).solve(said.append)
    made = ["label texts", "features", "probabilities are not calibrated", "tree 1", "tree 2"]
    assert [line.split(":")[0] for line in said] == ["character n-grams", "bigrams", "c", *made]
    given = {"token_pattern": "letters", "bigrams": "yes", "bigram_weight": 1.0, "char_ngrams": "no", "c": 1.0}
    linear(planted(), clusters=(4,), trees=2, **given).solve(said.append)
    assert [line.split(":")[0] for line in said[-5:]] == made
    assert len(said) == 13


def test_what_may_not_be_answered_is_not(run):
    model, texts = megalabel.load(run), planted().test.texts[:5]
    best = model.topk(texts, 1).numpy()[0][:, 0]
    pairs = np.stack([np.arange(5), best], axis=1)
    assert not (model.topk(texts, 3, exclude=pairs).numpy()[0] == best[:, None]).any()


def test_texts_without_a_known_word_get_the_likeliest_labels(run):
    model = megalabel.load(run)
    labels, scores = model.topk(["", "nothing of this", "w1a w1b"], 4).numpy()
    assert (labels >= 0).all()
    assert np.isfinite(scores).all()
    assert labels[2, 0] == 1
    assert np.array_equal(labels[0], labels[1])
    assert model.topk([], 3).numpy()[0].shape == (0, 3)


def test_validation_texts_are_left_out():
    data = planted()
    model = linear(data, clusters=(4,), validation_fraction=0.9).solve(lambda line: None)
    assert model.text.size < linear(data, clusters=(4,)).solve(lambda line: None).text.size


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"trees": 0}, "trees"),
        ({"c": 0.0}, "c"),
        ({"beam_size": 0}, "beam_size"),
        ({"clusters": (8, 4)}, "clusters"),
        ({"clusters": (512,)}, "clusters"),
        ({"token_pattern": "blanks"}, "token_pattern"),
        ({"post_processor": "high"}, "post_processor"),
        ({"prune_below": -1.0}, "prune_below"),
        ({"vocabulary": 0}, "vocabulary"),
        ({"seed": -1}, "seed"),
    ],
    ids=str,
)
def test_bad_settings_are_refused(bad, where):
    with pytest.raises(SettingError) as refused:
        linear(planted(), **bad)
    assert refused.value.where == where


@pytest.mark.parametrize("texts", [["", " "], [".", "-"]])
def test_no_word_at_all_is_refused_before_a_run_begins(texts, tmp_path):
    data = Corpus.of(texts, [[0], [1]], ["a", "b"])
    with pytest.raises(DataError, match="no text has a word"):
        megalabel.train(linear(data, clusters=(2,)), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("texts", ["one string", ["fine", 7]])
def test_texts_that_are_none(run, texts):
    with pytest.raises((SettingError, DataError)):
        megalabel.load(run).topk(texts, 1)


def test_a_depth_of_none(run):
    with pytest.raises(SettingError, match="k = 0"):
        megalabel.load(run).topk(["a"], 0)
    with pytest.raises(SettingError, match="batch_size = 0"):
        megalabel.load(run).topk(["a"], 1, batch_size=0)


def test_another_corpus_is_refused(run):
    other = megalabel.Corpus.of(
        ["w1a"], [["no label of it"]], test_texts=["w1a"], test_labels=[["no label of it"]]
    )
    with pytest.raises(DataError, match="labels"):
        megalabel.evaluate(megalabel.load(run), other)


@pytest.mark.parametrize("name", ["tree0-level1-values.npy", "labels.jsonl", "text/idf.npy"])
def test_a_damaged_folder_is_refused(name, tmp_path):
    model = linear(planted(), clusters=(4,), trees=1).solve(lambda line: None)
    model.save(tmp_path / "model")
    with open(tmp_path / "model" / name, "r+b") as file:
        file.seek(-4, 2)
        file.write(b"\xff\xff\xff\xff")
    with pytest.raises(FormatError, match="SHA-256"):
        megalabel.load(tmp_path / "model")


def test_a_folder_of_other_things_is_not_overwritten(tmp_path):
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(SettingError, match="not a model"):
        linear(planted(), clusters=(4,), trees=1).solve(lambda line: None).save(tmp_path)
    with pytest.raises(SettingError, match="not a model"):
        linear(planted(), clusters=(4,), trees=1).solve(lambda line: None).save(tmp_path / "notes")
    assert (tmp_path / "notes").read_text() == "mine"


@pytest.mark.parametrize(
    ("n_labels", "depths"), [(2, (1,)), (4_044, (5,)), (32_023, (4, 8)), (145_716, (5, 10)), (670_091, (6, 12))]
)
def test_trees_are_wide(n_labels, depths):
    assert wide_depths(n_labels) == depths


def test_a_model_cannot_be_trained(run, tmp_path):
    with pytest.raises(SettingError, match="a LinearClassifier; expected the result of a recipe function"):
        megalabel.train(megalabel.load(run), tmp_path / "run")
