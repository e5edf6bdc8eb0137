"""The hybrid recipe on planted data: it learns beside a run of every paper, and its folder comes back."""

import json
from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from bag_runs import trained
from planted import planted

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, MegalabelError, SettingError
from megalabel.inputs.batches import hold_out
from megalabel.models.hybrid import HybridClassifier, scaled_embeddings
from megalabel.models.mixture import DEPTH, Mixture
from megalabel.recipes.hybrid import hybrid

SMALL = dict(clusters=(4,), trees=1, joint_trees=1)


def made(run, say=lambda line: None, data=None, **more):
    return hybrid(data or planted(), run=str(run), **{**SMALL, **more}).solve(say)


@pytest.fixture(scope="module")
def model(bag_run):
    return made(bag_run)


@pytest.mark.parametrize(
    ("recipe", "gives"), [("renee", "logit"), ("cascadexml", "probability"), ("spartex", "logit")]
)
def test_it_learns_beside_a_run_of_every_paper_and_comes_back(recipe, gives, bag_run, tmp_path):
    data = planted()
    run = bag_run if recipe == "renee" else trained(recipe, tmp_path / recipe)
    recipe = hybrid(data, run=str(run), **SMALL)
    model = megalabel.train(recipe, tmp_path / "run", quiet=True)
    assert model.score_types == [gives, "probability", "probability"]
    alone, found = (megalabel.evaluate(ranker, data) for ranker in (megalabel.load(run), model))
    assert found["P@1"] > 90
    assert all(found[name] > alone[name] - 1 for name in ("P@1", "P@3", "nDCG@5"))
    again = megalabel.load(tmp_path / "run")
    assert isinstance(again, HybridClassifier)
    assert again.mixture == model.mixture
    for a, b in zip(model.topk(data.test.texts, 7).numpy(), again.topk(data.test.texts, 7).numpy(), strict=True):
        assert np.array_equal(a, b)
    facts = json.loads((tmp_path / "run" / "recipe.json").read_text())
    assert facts["recipe"] == "hybrid"
    assert facts["arguments"] == json.loads(json.dumps(recipe.arguments))


def test_beside_a_head_that_says_nothing_the_words_decide(tmp_path):
    run = trained("renee", tmp_path / "renee")
    first = megalabel.load(run)
    first.head.weight.data.zero_()
    first.head.bias.data.zero_()
    first.save(run / "model")
    model = made(run)
    assert megalabel.evaluate(first, planted())["P@1"] < 20
    assert megalabel.evaluate(model, planted())["P@1"] > 90


def test_lines_tell_what_is_made(bag_run):
    said = []
    made(bag_run, said.append, joint_trees=2)
    trees = ["joint tree 1", "joint tree 2", "word tree 1"]
    chosen, merges = ["character n-grams", "bigrams", "c"], ["merge without neighbors", "merge with neighbors"]
    lines = [*chosen, "label texts", "features", "joint trees", *trees, *merges, "weights"]
    assert [line.split(":")[0] for line in said] == lines
    parts = [part.strip().rsplit(" ", 1)[0] for part in said[-1].removeprefix("weights:").split(",")]
    assert parts == ["base model", "joint trees", "word trees"]
    assert "256 embedding features" in said[len(chosen) + 2]


def test_texts_held_out_are_not_learnt_from(bag_run, model):
    data = planted()
    kept, held = hold_out(len(data.train), 0.1, 0)
    assert len(held) == 40
    noise = {word for text in data.train.texts[kept] for word in text.split()}
    assert set(model.text.words) == noise | {word for name in data.label_texts for word in name.split()}
    found = model.rankings(data.train.texts[held], DEPTH)
    assert Mixture.fit(found, model.score_types, data.train.labels[held]) == model.mixture


def test_it_is_weighed_without_the_filter_pairs_of_the_texts_held_out(bag_run, monkeypatch):
    """Each of these says that the text's first label is not to be answered, by the text's place among all."""
    data = planted()
    _, held = hold_out(len(data.train), 0.1, 0)
    first = np.array([row.indices[0] for row in data.train.labels])
    pairs = np.stack([np.arange(len(first)), first], axis=1)
    data = replace(data, train=replace(data.train, filter=pairs))
    theirs = planted().fingerprint()
    monkeypatch.setattr(Corpus, "fingerprint", lambda self: theirs)
    asked = []
    search = HybridClassifier.search

    def watched(self, *given):
        asked.append((given, search(self, *given)))
        return asked[-1][1]

    monkeypatch.setattr(HybridClassifier, "search", watched)
    made(bag_run, data=data)
    ((texts, depth, exclude), found) = asked[0]
    assert list(texts) == list(data.train.texts[held])
    assert depth == DEPTH
    assert np.array_equal(exclude, np.stack([np.arange(len(held)), first[held]], axis=1))
    assert len(found.rankings) == 3
    for part in found.rankings:
        assert not (part.numpy()[0] == first[held][:, None]).any()


def test_what_may_not_be_answered_is_not(model):
    texts = planted().test.texts[:5]
    best = model.topk(texts, 1).numpy()[0][:, 0]
    pairs = np.stack([np.arange(5), best], axis=1)
    for exclude in (pairs, pairs[::-1].astype(np.uint64)):
        labels, scores = model.topk(texts, 64, exclude=exclude).numpy()
        assert not (labels == best[:, None]).any()
        assert (labels[:, -1] == -1).all()
        assert np.isneginf(scores[:, -1]).all()
        assert (labels[:, 0] >= 0).all()


def test_texts_are_ranked_in_blocks_with_the_pairs_of_each(model, monkeypatch):
    texts = planted().test.texts[:11]
    pairs = np.array([[10, 3], [0, 1], [4, 7], [3, 2]])
    whole = model.topk(texts, 4, exclude=pairs).numpy()
    monkeypatch.setattr(model, "block_size", 4)
    for a, b in zip(whole, model.topk(list(texts), 4, exclude=pairs, batch_size=3).numpy(), strict=True):
        assert np.allclose(a, b, atol=1e-6)


@pytest.mark.parametrize(
    "nothing", [None, [], np.empty((0, 2), np.int64), np.empty(0)], ids=["", "[]", "0 2", "0"]
)
def test_no_pairs_are_no_pairs(model, nothing):
    texts = planted().test.texts[:3]
    assert np.array_equal(model.topk(texts, 2, exclude=nothing).numpy()[0], model.topk(texts, 2).numpy()[0])


def test_more_labels_than_there_are_end_in_nothing(model):
    labels, scores = model.topk(planted().test.texts[:3], 100).numpy()
    assert sorted(labels[0, :64]) == list(range(64))
    assert (labels[:, 64:] == -1).all()
    assert np.isneginf(scores[:, 64:]).all()
    assert ((scores[:, :64] >= 0) & (scores[:, :64] <= 1)).all()
    assert (np.diff(scores[:, :64], axis=1) <= 0).all()
    assert len(model.predict(["w3a w3b"], 100)[0]) == 64


def test_texts_without_a_known_word_have_answers(model):
    labels, scores = model.topk(["", "nothing of this", "w1a w1b"], 4).numpy()
    assert (labels >= 0).all()
    assert np.isfinite(scores).all()
    assert labels[2, 0] == 1
    assert scores[2, 0] > scores[0, 0]
    assert model.topk([], 3).numpy()[0].shape == (0, 3)


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        ({"joint_trees": 0}, 2),
        ({"shortlist": 3}, 3),
        ({"shortlist": 100}, 3),
        ({"trees": 2, "joint_trees": 2, "post_processor": "sigmoid", "clusters": (2, 8)}, 3),
        ({"label_texts": "no"}, 3),
        ({"joint_trees": 0, "weights": (1, 3)}, 2),
        ({"weights": "1,0,1"}, 3),
    ],
    ids=str,
)
def test_knobs(more, parts, bag_run):
    model = made(bag_run, **more)
    assert len(model.score_types) == len(model.mixture.weights) == parts
    assert len(model.joint_trees) == (0 if parts == 2 else more.get("joint_trees", 1))
    assert megalabel.evaluate(model, planted())["P@1"] > 90


def test_given_weights_are_taken_and_the_scores_calibrated(bag_run, model):
    given = made(bag_run, weights=(2, 1, 1))
    assert given.mixture.weights == (0.5, 0.25, 0.25)
    assert (given.mixture.slopes, given.mixture.offsets) == (model.mixture.slopes, model.mixture.offsets)
    assert given.mixture.slopes != (1, 1, 1)


def test_a_shortlist_tells_more_labels_apart(bag_run, model):
    further = made(bag_run, shortlist=10)
    same = [
        np.array_equal(a.arrays["values"], b.arrays["values"])
        for a, b in zip(model.word_trees[0].levels, further.word_trees[0].levels, strict=True)
    ]
    assert same == [True, False]  # the root tells all of its children apart on every text anyway


def test_joint_trees_see_no_pieces_of_words(bag_run, tmp_path):
    model = made(bag_run, char_ngrams="yes")
    assert model.text.n_word_features < model.text.size
    assert {tree.n_features for tree in model.joint_trees} == {model.text.n_word_features}
    assert {tree.n_features for tree in model.word_trees} == {model.text.size}
    assert {tree.n_inputs for tree in model.joint_trees} == {256}
    assert {tree.n_inputs for tree in model.word_trees} == {0}
    assert megalabel.evaluate(model, planted())["P@1"] > 90
    model.save(tmp_path / "model")
    again = megalabel.load(tmp_path / "model")
    assert again.predict(["w1a w2b", "w7"], 5) == model.predict(["w1a w2b", "w7"], 5)


def test_embeddings_have_the_length_that_is_wanted(model):
    found = scaled_embeddings(model.base_model, ["w1a w1b", "w2a noise3"], 0.3)
    views = model.base_model.encode(["w1a w1b", "w2a noise3"])[:, -1]
    assert found.shape == (2, 256)
    assert np.allclose(found, 0.3 * views / np.linalg.norm(views, axis=1, keepdims=True), atol=1e-6)
    assert scaled_embeddings(model.base_model, [], 0.3).shape == (0, 256)


@pytest.mark.parametrize("texts", ["one string", ["fine", 7], sp.csr_matrix((2, 3))], ids=["str", "7", "sparse"])
def test_texts_that_are_none(model, texts):
    with pytest.raises((SettingError, DataError)):
        model.topk(texts, 1)


@pytest.mark.parametrize("k", [0, -1, 2.5, "3", True])
@pytest.mark.parametrize("texts", [["a"], []], ids=["text", "none"])
def test_a_depth_of_none(model, texts, k):
    with pytest.raises(SettingError, match=f"k = {k!r}"):
        model.topk(texts, k)


@pytest.mark.parametrize("pairs", [[[5, 0]], [[0, 64]], [[0, -1]], [[0.5, 1]], [[1, 2, 3]]], ids=str)
def test_pairs_that_are_none(model, pairs):
    with pytest.raises(MegalabelError):
        model.topk(["a", "b"], 1, exclude=np.array(pairs))
