"""The sample on which settings are compared: what is held out, which labels count, and the scores."""

import numpy as np
import pytest
import scipy.sparse as sp
from planted import planted

from megalabel.data.texts import Texts
from megalabel.inputs.sparse_text import SparseText
from megalabel.linear import sample
from megalabel.linear.sample import draw
from megalabel.linear.trial import READ, Setting, Trial, Trials, ndcg

DATA = planted(n_labels=1200, n_texts=3000)
WORDS = SparseText.learn(DATA.train.texts, bigrams=False).transform(DATA.train.texts)
CONTENTS = [text.encode() for text in DATA.train.texts]


def test_copies_of_a_text_are_on_one_side():
    contents = [f"text {i % 300}".encode() for i in range(3000)]
    ((fit, held, _),) = draw(contents, WORDS, DATA.train.labels, seed=0)
    assert not {contents[i] for i in fit} & {contents[i] for i in held}
    assert len(fit) and len(held)


def test_a_label_of_the_sample_keeps_all_its_other_texts(monkeypatch):
    monkeypatch.setattr(sample, "LEAST_WORK", 12_000)
    ((fit, held, labels),) = draw(CONTENTS, WORDS, DATA.train.labels, seed=0)
    assert sample.FEWEST_CLUSTERS <= len(labels) < 1200
    for part in (fit, held, labels):
        assert (np.diff(part) > 0).all()
    assert not np.intersect1d(fit, held).size
    (everywhere,) = draw(CONTENTS, WORDS, DATA.train.labels, seed=0, share=1.0)
    assert np.array_equal(everywhere.labels, np.arange(1200))
    assert np.isin(held, everywhere.held).all()
    assert len(everywhere.fit) + len(everywhere.held) == 3000
    counts = DATA.train.labels[everywhere.fit][:, labels].sum(axis=0)
    assert np.array_equal(DATA.train.labels[fit][:, labels].sum(axis=0), counts)


def test_few_labels_with_many_texts_are_a_sample_of_texts(monkeypatch):
    monkeypatch.setattr(sample, "LEAST_WORK", 100)
    labels = sp.csr_matrix(np.eye(3, dtype=np.float32)[np.arange(3000) % 3])
    (drawn,) = draw(CONTENTS, WORDS, labels, seed=0)
    assert np.array_equal(drawn.labels, [0, 1, 2])
    assert 0 < len(drawn.fit) < 1000


def test_each_of_few_texts_is_held_out_once():
    contents = [*CONTENTS[:90], *CONTENTS[:10]]
    rows = [*range(90), *range(10)]
    samples = draw(contents, WORDS[rows], DATA.train.labels[rows], seed=0)
    assert len(samples) == 5
    assert np.array_equal(np.sort(np.concatenate([sample.held for sample in samples])), np.arange(100))
    for fit, held, labels in samples:
        assert len(fit) + len(held) == 100
        assert not {contents[i] for i in fit} & {contents[i] for i in held}
        assert len(labels) == DATA.n_labels


def test_a_sample_depends_on_the_seed_alone():
    first, again, other = (draw(CONTENTS, WORDS, DATA.train.labels, seed=seed)[0] for seed in (0, 0, 1))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first.held, other.held)


def sampled(names=(), pairs=None):
    (sample,) = draw(CONTENTS, WORDS, DATA.train.labels, seed=0)
    return Trial(DATA.train.texts, DATA.train.labels, names, pairs, sample, 0), sample


def test_a_setting_that_reads_more_scores_better():
    made, sample = sampled()
    whole = made.measure(Setting(bigram_weight=0.0))
    assert whole.shape == (len(sample.held),)
    assert 60 < whole.mean() <= 100
    assert np.array_equal(whole, sampled()[0].measure(Setting(bigram_weight=0.0)))
    only_numbers = Trial(Texts.from_strings(["w"] * 3000), DATA.train.labels, (), None, sample, 0)
    assert only_numbers.measure(Setting()).mean() < whole.mean() - 30
    with_names = sampled(DATA.label_texts)[0].measure(Setting(bigram_weight=0.0))
    assert with_names.mean() > whole.mean()


def test_beginnings_are_the_first_characters_of_each_text():
    made, drawn = sampled()
    trials = Trials([made])
    assert trials.of_beginnings() is trials  # no text is longer
    filler = "x" * 2 * READ
    behind = Texts.from_strings([f"{filler} {text}" for text in DATA.train.texts])
    long = Trials([Trial(behind, DATA.train.labels, (), None, drawn, 0)])
    setting = Setting(bigram_weight=0.0)
    assert long.measure(setting).mean() > long.of_beginnings().measure(setting).mean() + 30
    before = Texts.from_strings([f"{text} {filler}" for text in DATA.train.texts])
    cut = Trial(before, DATA.train.labels, (), None, drawn, 0).of_beginnings()
    assert cut.measure(setting).mean() == pytest.approx(made.measure(setting).mean(), abs=3)


def test_filter_pairs_are_left_out():
    _, sample = sampled()
    rows, columns = DATA.train.labels[sample.held].nonzero()
    none, _ = sampled(pairs=np.stack([sample.held[rows], columns], axis=1))
    assert none.measure(Setting()).max() == 0


@pytest.mark.parametrize("weight", [0.5, 0.0])
def test_the_weight_of_bigrams_is_that_of_the_features(weight):
    made, sample = sampled()
    texts = DATA.train.texts[sample.fit]
    options = {"bigrams": True, "bigram_weight": weight} if weight else {"bigrams": False}
    wanted = SparseText.learn(texts, **options).transform(texts)
    got = made._weighted(Setting(bigram_weight=weight)).train
    np.testing.assert_allclose(got.toarray(), wanted.toarray(), rtol=1e-5)


def test_ndcg():
    truth = sp.csr_matrix(np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0]]))
    ids = np.array([[0, 1, 2], [0, 1, 2], [0, 1, 2]])
    best = 1 + 1 / np.log2(3)
    np.testing.assert_allclose(ndcg(ids, truth), [1.5 / best, 1 / np.log2(3), 0])
