"""The linear recipe on bags of words: features in place of texts when it learns, measures and predicts."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from planted import planted
from support.manifests import edited

import megalabel
from megalabel.data.convert import convert
from megalabel.data.corpus import Corpus
from megalabel.data.texts import Texts
from megalabel.errors import DataError, FormatError, SettingError
from megalabel.inputs.sparse_text import SparseText
from megalabel.recipes.linear import linear

WIDTH = 156  # words of the planted training texts


def bagged(scale=1.0):
    """The planted corpus, its texts given as features alone."""
    data = planted()
    view = SparseText.learn(data.train.texts, bigrams=False)

    def side(split):
        features = view.transform(split.texts) * np.float32(scale)
        return replace(split, texts=Texts.blank(len(split)), features=features)

    return replace(data, train=side(data.train), test=side(data.test))


def with_train(data, features):
    return replace(data, train=replace(data.train, features=sp.csr_matrix(features)))


def solved(data, **more):
    return linear(data, clusters=(4,), **{"trees": 1, "c": 1.0, **more}).solve(lambda line: None)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A finished run."""
    out = tmp_path_factory.mktemp("bags") / "run"
    megalabel.train(linear(bagged(), clusters=(4,), c=1.0), out, quiet=True)
    return out


@pytest.fixture(scope="module")
def texts_run(tmp_path_factory):
    """A run on texts."""
    out = tmp_path_factory.mktemp("texts") / "run"
    megalabel.train(linear(planted(), clusters=(4,), trees=1), out, quiet=True)
    return out


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The bags as files of the XML Repository."""
    out = tmp_path_factory.mktemp("bow") / "planted"
    convert(bagged(), out, "xmlrepo")
    return out


def test_it_learns_what_texts_would_teach(run):
    data, model = bagged(), megalabel.load(run)
    assert model.n_features == WIDTH
    assert megalabel.evaluate(model, data)["P@1"] > 90
    plain = {"bigrams": "no", "char_ngrams": "no", "label_texts": "no"}
    on_texts = solved(planted(), trees=3, **plain).topk(planted().test.texts, 5).numpy()
    for ours, theirs in zip(model.topk(data.test.features, 5).numpy(), on_texts, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4)


def test_it_comes_back(run):
    x, again = bagged().test.features, megalabel.load(run)
    model = solved(bagged(), trees=3)
    for a, b in zip(model.topk(x, 7).numpy(), again.topk(x, 7).numpy(), strict=True):
        assert np.array_equal(a, b)
    assert again.predict(x[:2], 3) == model.predict(x[:2], 3)
    assert not (run / "model" / "text").exists()


def test_only_the_direction_of_a_row_counts(run):
    x, model = bagged().test.features, megalabel.load(run)
    for other in (bagged(scale=37.0).test.features, x.astype(np.float64) * 1e-20, x.tocoo(), sp.csc_array(x)):
        before = other.copy()
        labels, scores = model.topk(other, 4).numpy()
        assert np.array_equal(labels, model.topk(x, 4).numpy()[0])
        np.testing.assert_allclose(scores, model.topk(x, 4).numpy()[1], rtol=1e-4)
        assert (other != before).nnz == 0
    by_scale = solved(bagged(scale=37.0)).topk(x, 4).numpy()[1]
    np.testing.assert_allclose(by_scale, solved(bagged()).topk(x, 4).numpy()[1], rtol=1e-4)


def test_rows_come_in_any_number_and_may_be_empty(run, monkeypatch):
    x, model = bagged().test.features[:9], megalabel.load(run)
    whole = model.topk(x, 3).numpy()
    monkeypatch.setattr(model, "block_size", 4)
    for a, b in zip(model.topk(x, 3, batch_size=1).numpy(), whole, strict=True):
        assert np.array_equal(a, b)
    assert model.topk(x[:0], 3).numpy()[0].shape == (0, 3)
    labels, scores = model.topk(sp.csr_matrix((2, WIDTH), dtype=np.float32), 3).numpy()
    assert (labels >= 0).all()
    assert np.isfinite(scores).all()


def test_training_rows_without_features_and_negative_values_do_no_harm():
    data = bagged()
    features = data.train.features.tolil()
    features[:5] = 0
    features[5:200] *= -1
    model = solved(with_train(data, features.tocsr()))
    assert np.isfinite(model.topk(data.test.features, 3).numpy()[1]).all()
    negative = with_train(data, data.train.features * -1)
    flipped = replace(negative, test=replace(data.test, features=data.test.features * -1))
    assert megalabel.evaluate(solved(negative), flipped)["P@1"] > 90


def test_stored_zeros_are_no_features():
    data = bagged()
    zeros = data.train.features.copy()
    zeros.data[:] = 0
    with pytest.raises(DataError, match="none of 400 training rows has a feature"):
        linear(with_train(data, zeros))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_no_numbers_are_refused(run, value):
    data = bagged()
    features, asked = data.train.features.copy(), data.test.features.copy()
    features.data[7] = asked.data[7] = value
    with pytest.raises(DataError, match="finite numbers"):
        linear(with_train(data, features))
    with pytest.raises(DataError, match="finite numbers"):
        megalabel.load(run).topk(asked, 1)


def test_texts_and_rows_are_not_asked_of_each_other(run, texts_run):
    with pytest.raises(DataError, match="a list; expected a scipy sparse matrix"):
        megalabel.load(run).topk(["w1a w1b"], 1)
    with pytest.raises(DataError, match="a list of texts"):
        megalabel.load(texts_run).topk(bagged().test.features, 1)


def test_texts_and_bags_are_not_measured_by_each_other(run, texts_run):
    with pytest.raises(DataError, match="holds bags of words, not texts"):
        megalabel.evaluate(megalabel.load(texts_run), bagged())
    with pytest.raises(DataError, match="planted holds texts, the model was trained on bags of words"):
        megalabel.evaluate(megalabel.load(run), planted())
    data = bagged()
    wider = sp.csr_matrix((len(data.test), WIDTH + 2), dtype=np.float32)
    with pytest.raises(DataError, match="rows of 158 features; expected 156"):
        megalabel.evaluate(megalabel.load(run), replace(data, test=replace(data.test, features=wider)))


@pytest.mark.parametrize(
    "setting",
    [{"token_pattern": "signs"}, {"bigrams": False}, {"char_ngrams": True}, {"vocabulary": 9}, {"min_texts": 2}],
)
def test_settings_of_texts_are_refused(setting):
    with pytest.raises(SettingError) as refused:
        linear(bagged(), **setting)
    assert refused.value.where == next(iter(setting))


def test_the_preset_of_any_set_fits():
    from megalabel.recipes import from_preset

    assert from_preset("linear", bagged(), trees=1).arguments["c"] is None


@pytest.mark.parametrize("size", [0, -1, "156", 1.5, 2**31, 155])
def test_a_manifest_with_another_number_of_features_is_refused(size, tmp_path):
    solved(bagged()).save(tmp_path / "model")
    with edited(tmp_path / "model") as manifest:
        manifest["n_features"] = size
    with pytest.raises(FormatError, match="damaged"):
        megalabel.load(tmp_path / "model")


def test_the_command_line_trains_measures_and_predicts(command, folder, tmp_path):
    out = tmp_path / "run"
    status, _, err = command("train", "linear", folder, "--out", out, "--trees", 1, "--clusters", "4")
    assert status == 0, err
    status, shown, err = command("evaluate", out, folder)
    assert status == 0, err
    assert json.loads((out / "metrics.json").read_text())["P@1"] > 90
    status, shown, err = command("predict", out, folder / "test.txt", "-k", 2)
    assert status == 0, err
    lines = [json.loads(line)["labels"] for line in shown.splitlines()]
    data = Corpus.open(folder)
    labels, _ = megalabel.load(out).topk(data.test.features, 2).numpy()
    assert [[found["id"] for found in line] for line in lines] == labels.tolist()
    assert command("predict", out, folder / "test.txt", "--out", tmp_path / "p.npz", "-k", 2)[0] == 0
    with np.load(tmp_path / "p.npz") as found:
        assert np.array_equal(found["labels"], labels)


def test_rows_without_labels_can_be_predicted(command, run, tmp_path):
    (tmp_path / "ask.txt").write_text(f"3 {WIDTH} 0\n0:1 5:2\n 3:1\n\n")
    status, shown, err = command("predict", run, tmp_path / "ask.txt", "-k", 1)
    assert status == 0, err
    assert len(shown.splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.txt", "w1a w1b\n", "t.txt, line 1: 'w1a w1b' is not a header"),
        ("t.jsonl", '{"text": "a"}\n', "a file of texts (.jsonl)"),
        ("t.txt", f"1 {WIDTH + 1} 64\n0 0:1\n", "rows of 157 features; expected 156"),
        ("t.txt", f"1 {WIDTH} 64\n0 0:nan\n", "line 2: feature 0 has the value nan"),
        ("t.txt", f"2 {WIDTH} 64\n0 0:1\n", "says 2 rows, but 1 follow"),
        (None, "", "no such file"),
        ("-", "", "standard input; expected a bag-of-words file"),
    ],
)
def test_what_is_no_bag_of_words_file_gets_one_line(command, run, tmp_path, name, content, said):
    if name not in (None, "-"):
        (tmp_path / name).write_text(content)
    asked = "-" if name == "-" else tmp_path / (name or "none.txt")
    status, out, err = command("predict", run, asked)
    assert (status, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1


def test_texts_of_a_text_model_may_still_look_like_a_header(command, texts_run, tmp_path):
    (tmp_path / "t.txt").write_text("1 2 3\n")
    status, out, _ = command("predict", texts_run, tmp_path / "t.txt", "-k", 1)
    assert status == 0
    assert len(out.splitlines()) == 1
