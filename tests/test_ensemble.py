"""Ensembles: what they answer, how they come back from their folder, and what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from planted import planted
from support.manifests import edited
from topk_agree import assert_topk_agree
from untrained import untrained

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import DataError, FormatError, SettingError
from megalabel.inputs.bag_of_words import BagOfWords
from megalabel.models.linear import LinearClassifier
from megalabel.models.mixture import Mixture
from megalabel.recipes.linear import linear
from megalabel.types import TopK


def solved(data, **more):
    return linear(data, **{"clusters": (4,), "trees": 1, **more}).solve(lambda line: None)


@pytest.fixture(scope="module")
def model():
    """Three of different kinds."""
    data = planted(n_texts=200)
    neural = untrained(list(data.label_texts), words=" ".join(data.label_texts))
    return megalabel.Ensemble([solved(data), solved(data, clusters=(8,), bigrams=False), neural])


def test_two_that_know_different_halves_are_better_together():
    data = planted()
    half = [Corpus.of(*part, data.label_texts) for part in _halves(data)]
    parts = [solved(side, label_texts="no") for side in half]
    both = megalabel.Ensemble(parts)
    alone = [megalabel.evaluate(part, data)["P@3"] for part in parts]
    assert megalabel.evaluate(both, data)["P@3"] > max(alone) + 5


def _halves(data):
    rows = np.split(data.train.labels.indices, data.train.labels.indptr[1:-1])
    for odd in (0, 1):
        kept = [i for i, row in enumerate(rows) if (row % 2 == odd).any()]
        yield [data.train.texts[i] for i in kept], [[int(j) for j in rows[i] if j % 2 == odd] for i in kept]


def test_scores_are_the_mixture_of_what_each_part_says(model):
    texts = planted().test.texts[:20]
    found = [part.topk(texts, 50) for part in model.parts]
    expected = model.mixture.merge(found, [part.score_type for part in model.parts], 5).numpy()
    answered = model.topk(texts, 5).numpy()
    assert np.array_equal(answered[0], expected[0])
    assert np.array_equal(answered[1], expected[1])
    assert ((answered[1] > 0) & (answered[1] <= 1)).all()
    [[(name, score)]] = model.predict(texts[:1], 1)
    assert name == model.label_texts[int(answered[0][0, 0])]
    # One text alone may be rounded otherwise.
    assert score == pytest.approx(float(answered[1][0, 0]), rel=1e-5)


def test_it_comes_back(model, tmp_path):
    weighed = megalabel.Ensemble(model.parts, Mixture((1.0, 0.5, 2.0), (0.0, -1.0, 0.1), (0.5, 0.3, 0.2)))
    nested = megalabel.Ensemble([weighed, model.parts[0]])
    texts = planted().test.texts
    for made in (weighed, nested):
        made.save(tmp_path / "model")  # the second in place of the first
        again = megalabel.load(tmp_path / "model")
        assert isinstance(again, megalabel.Ensemble)
        assert again.mixture == made.mixture
        for a, b in zip(made.topk(texts, 7).numpy(), again.topk(texts, 7).numpy(), strict=True):
            assert np.array_equal(a, b)


def test_what_may_not_be_answered_is_not_in_any_block(model, monkeypatch):
    texts = planted().test.texts[:11]
    plain = model.topk(texts, 3).numpy()
    best = plain[0][:, 0]
    chosen = np.array([0, 3, 4, 10])
    pairs = np.stack([chosen, best[chosen]], axis=1)[::-1]
    whole = model.topk(texts, 3, exclude=pairs).numpy()
    monkeypatch.setattr(model, "block_size", 4)
    blocks = model.topk(texts, 3, exclude=pairs).numpy()
    assert not (whole[0][chosen] == best[chosen, None]).any()
    others = np.setdiff1d(np.arange(11), chosen)
    assert np.array_equal(whole[0][others], plain[0][others])
    assert_topk_agree(TopK(*blocks), TopK(*whole))
    with pytest.raises(SettingError, match="exclude"):
        model.topk(texts, 3, exclude=np.array([[11, 0]]))


def test_more_labels_than_there_are(model):
    labels, scores = model.topk(planted().test.texts[:4], 70).numpy()
    assert labels.shape == (4, 70)
    assert (labels[:, 64:] == -1).all()
    assert np.isneginf(scores[labels < 0]).all()
    for row in labels:
        assert len(set(row[row >= 0])) == (row >= 0).sum()


def test_no_text_and_texts_that_are_none(model):
    assert model.topk([], 3).numpy()[0].shape == (0, 3)
    with pytest.raises(SettingError, match="one string"):
        model.topk("one string", 3)
    with pytest.raises(DataError, match="a sparse matrix"):
        model.topk(sp.csr_matrix((2, 5)), 3)
    for k in (0, -1, 2.0, True):
        with pytest.raises(SettingError, match="k = "):
            model.topk(["w1a"], k)
    for size in (0, "8"):
        with pytest.raises(SettingError, match="batch_size = "):
            model.topk(["w1a"], 3, batch_size=size)


def test_what_is_no_model_and_no_mixture(model):
    for parts, match in (
        (model, "an Ensemble instead of a list"),
        (["runs/a", "runs/b"], "a str among the models"),
    ):
        with pytest.raises(SettingError, match=match):
            megalabel.Ensemble(parts)
    with pytest.raises(SettingError, match=r"a list as mixture.*Mixture\.from_weights"):
        megalabel.Ensemble(model.parts, [1, 2, 3])


def test_bags_of_words_are_merged_and_not_beside_texts(model, tmp_path):
    random = np.random.default_rng(0)
    labels = [[i % 6] for i in range(60)]
    rows = sp.csr_matrix(np.eye(6)[np.arange(60) % 6] + 0.1 * random.random((60, 6)))
    names = [str(i) for i in range(6)]
    data = Corpus.of([""] * 60, labels, names)
    data = replace(data, train=replace(data.train, features=rows.astype(np.float32)))
    parts = [solved(data, clusters=(2,), seed=seed) for seed in (0, 1)]
    both = megalabel.Ensemble(parts)
    both.save(tmp_path / "model")
    again = megalabel.load(tmp_path / "model")
    assert again.n_features == 6
    assert (again.topk(rows, 1).numpy()[0].ravel() == np.arange(60) % 6).mean() > 0.9
    with pytest.raises(DataError, match="a list"):
        again.topk(["a"], 1)
    reads_texts = LinearClassifier(BagOfWords(6), parts[0].trees, parts[0].label_texts)
    reads_texts.n_features = None
    with pytest.raises(SettingError, match="model 0 reads bags of 6 words, model 1 texts"):
        megalabel.Ensemble([parts[0], reads_texts])


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (["a", "b"], "model 0 has 3 labels, model 1 2"),
        (["a", "c", "b"], "label 1 is 'b' for model 0, 'c' for model 1"),
    ],
)
def test_other_labels_are_refused(names, said):
    with pytest.raises(SettingError, match=said):
        megalabel.Ensemble([untrained(["a", "b", "c"]), untrained(names)])


def test_numbers_that_do_not_fit():
    one = untrained(["a", "b"])
    with pytest.raises(SettingError, match="1 model; expected at least two"):
        megalabel.Ensemble([one])
    with pytest.raises(SettingError, match="3 weights for 2 models"):
        megalabel.Ensemble([one, one], Mixture.from_weights([1, 1, 1]))


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({"parts": "two"}, "two"),
        ({"parts": 1}, "1 parts"),
        ({"parts": 3}, "3 parts"),
        ({"mixture": {"weights": [1.0]}}, "missing"),
        ({"mixture": {"slopes": [1, 1], "offsets": [0, 0], "weights": [2, -1]}}, "weights"),
        ({"mixture": {"slopes": [1], "offsets": [0], "weights": [1]}}, "1 weights"),
        ({"mixture": 7}, "int"),
    ],
    ids=str,
)
def test_a_manifest_that_does_not_fit_is_refused(facts, said, tmp_path):
    one = untrained(["a", "b"])
    megalabel.Ensemble([one, one]).save(tmp_path / "model")
    with edited(tmp_path / "model") as manifest:
        manifest.update(facts)
    with pytest.raises(FormatError, match=said):
        megalabel.load(tmp_path / "model")


def test_damage_to_a_part_and_a_folder_of_other_things_are_refused(tmp_path):
    one = untrained(["a", "b"])
    both = megalabel.Ensemble([one, one])
    both.save(tmp_path / "model")
    (tmp_path / "model" / "part1" / "labels.jsonl").write_text('"a"\n"c"\n')
    with pytest.raises(FormatError, match="SHA-256"):
        megalabel.load(tmp_path / "model")
    untrained(["a", "c"]).save(tmp_path / "model" / "part1")
    with pytest.raises(FormatError, match="SHA-256"):  # a whole model, but not of this ensemble
        megalabel.load(tmp_path / "model")
    with edited(tmp_path / "model"):
        pass
    with pytest.raises(FormatError, match="label 1 is 'b' for model 0, 'c' for model 1"):
        megalabel.load(tmp_path / "model")
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(SettingError, match="not a model"):
        both.save(tmp_path)
    assert (tmp_path / "notes").read_text() == "mine"
