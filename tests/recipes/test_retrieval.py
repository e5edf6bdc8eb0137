"""The retrieval recipe on planted data: accuracy, neighbors, further texts, odd texts, and its folder."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from planted import planted

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.data.texts import Texts
from megalabel.errors import DataError, SettingError
from megalabel.models.retrieval import RetrievalClassifier
from megalabel.recipes.retrieval import retrieval


def quiet(line: str) -> None:
    pass


@pytest.fixture(scope="module")
def model() -> RetrievalClassifier:
    return retrieval(planted()).solve(quiet)


def test_it_learns_and_comes_back(tmp_path):
    data = planted()
    model = megalabel.train(retrieval(data), tmp_path / "run", quiet=True)
    assert megalabel.evaluate(model, data)["P@1"] > 85
    again = megalabel.load(tmp_path / "run")
    assert isinstance(again, RetrievalClassifier) and again.mixture == model.mixture
    for a, b in zip(model.topk(data.test.texts, 7).numpy(), again.topk(data.test.texts, 7).numpy(), strict=True):
        assert np.array_equal(a, b)
    assert np.array_equal(again.trained_on.counts, model.trained_on.counts)


def test_the_same_seed_gives_the_same_model(model):
    again = retrieval(planted()).solve(quiet)
    assert again.mixture == model.mixture
    texts = planted().test.texts
    for a, b in zip(model.topk(texts, 5).numpy(), again.topk(texts, 5).numpy(), strict=True):
        assert np.array_equal(a, b)


def test_neighbors_are_training_texts_with_their_labels(model):
    data = planted()
    found = model.neighbors([data.train.texts[5]], 3)[0]
    assert found[0].row == 5 and found[0].similarity == pytest.approx(1, abs=1e-5)
    assert found[0].labels == tuple(data.train.labels[5].indices.tolist())
    assert [n.similarity for n in found] == sorted((n.similarity for n in found), reverse=True)
    named = model.neighbors([data.label_texts[7]], 1)[0][0]
    assert named.row == -1 - 7 and named.labels == (7,)
    with pytest.raises(SettingError, match="k = 0"):
        model.neighbors(["w1a"], 0)


def test_texts_that_are_added_give_the_ranking_that_training_on_all_gives():
    data = planted()
    half = planted(n_texts=400)
    whole = retrieval(data).solve(quiet)
    kept = np.flatnonzero(whole.index.origins < 300)  # label texts among them
    x = whole.index.rows.matrix().T.tocsr()
    part = type(whole.index).build(x[kept], whole.index.known.row_labels[kept], whole.index.origins[kept])
    model = RetrievalClassifier(whole.text, part, whole.mixture, whole.label_texts)
    model.add_rows(half.train.texts[np.arange(300, 400)], data.train.labels[300:])
    for a, b in zip(model.topk(data.test.texts, 5).numpy(), whole.topk(data.test.texts, 5).numpy(), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)
    assert model.neighbors([data.train.texts[350]], 1)[0][0].row == 350


def test_a_new_text_is_found_at_once(model):
    more = model.with_rows(["noise1 noise2 w3a noise4 noise5"], sp.csr_matrix(np.eye(1, 64, 9, dtype=np.float32)))
    assert 9 in more.topk(["noise1 noise2 w3a noise4 noise5"], 5).ids
    assert more.neighbors(["noise1 noise2 w3a noise4 noise5"], 1)[0][0].row == 400
    assert len(more.index.origins) == len(model.index.origins) + 1
    with pytest.raises(DataError, match="for 2 texts"):
        model.with_rows(["a", "b"], sp.csr_matrix((1, 64)))


def test_empty_texts_and_unknown_words_have_no_neighbors(model):
    ids, scores = model.topk(["", "unheard", "w1a w1b"], 3).numpy()
    assert (ids[:2] == -1).all() and np.isneginf(scores[:2]).all()
    assert ids[2, 0] == 1
    assert model.neighbors(["", "unheard"], 2) == [[], []]
    assert model.topk([], 3).ids.shape == (0, 3)


def test_pairs_are_left_out(model):
    best = int(model.topk(["w1a w1b"], 1).ids[0, 0])
    assert best not in model.topk(["w1a w1b"], 5, exclude=np.array([[0, best]])).ids


def test_one_label_and_few_texts():
    data = Corpus.of(["red apple", "green apple", "ripe pear"], [[0], [0], []], ["fruit"], name="one")
    model = retrieval(data).solve(quiet)
    assert model.predict(["apple"], 1)[0][0][0] == "fruit"


def test_bags_of_words_are_refused():
    data = planted()
    features = sp.csr_matrix(np.eye(len(data.train), dtype=np.float32))
    data = replace(data, train=replace(data.train, texts=Texts.blank(len(data.train)), features=features))
    with pytest.raises(SettingError, match="bags of words"):
        retrieval(data)
