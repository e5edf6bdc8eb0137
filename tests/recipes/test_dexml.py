"""DEXML on planted data: it learns, answers for labels that it never trained on, and refuses wrong options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import planted

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import MegalabelError, SettingError
from megalabel.recipes import from_preset
from megalabel.recipes.dexml import dexml
from megalabel.testing import check_recipe
from megalabel.training.step import CachedGradients, Plain

SMALL = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=12, batch_size=32, hidden_dim=0, encoder_lr=0.005,
    token_lr=0.02, temperature=0.1, log_every=1,
)  # fmt: skip
SAMPLED = {"negatives": 20, "hard_negatives": 3, "refresh_every": 2}
CACHED = {"accumulation_steps": 3, "labels_at_once": 20, "reduction": "sum"}


@pytest.mark.parametrize("more", [{}, SAMPLED, CACHED], ids=["all", "sampled", "cached"])
def test_it_learns_and_a_loaded_model_answers_the_same(more, tmp_path):
    corpus = planted()
    model = megalabel.train(dexml(corpus, **{**SMALL, **more}), tmp_path / "run", quiet=True)
    assert megalabel.evaluate(model, corpus)["P@1"] > 90
    again = megalabel.load(tmp_path / "run")
    a, b = (one.topk(corpus.test.texts, k=5).numpy() for one in (model, again))
    assert (a[0] == b[0]).all()
    np.testing.assert_allclose(a[1], b[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("more", [{}, SAMPLED, CACHED], ids=["all", "sampled", "cached"])
def test_the_checks_of_all_recipes(more):
    check_recipe(lambda corpus: dexml(corpus, **{**SMALL, **more, "epochs": 3}), planted())


def test_cached_gradients_are_those_of_the_whole_batch(tmp_path):
    """The loss sees the whole batch, so three parts end where one part ends, but for rounding."""
    arguments = {**SMALL, "epochs": 2, "validation_fraction": 0.0}
    ends = []
    for name, parts in (("one", 1), ("three", 3)):
        recipe = dexml(planted(), **arguments, accumulation_steps=parts)
        assert isinstance(recipe.step, Plain if parts == 1 else CachedGradients)
        ends.append(megalabel.train(recipe, tmp_path / name, quiet=True))
    a, b = (end.topk(planted().test.texts, k=5).numpy() for end in ends)
    assert (a[0] == b[0]).mean() > 0.98
    np.testing.assert_allclose(a[1], b[1], rtol=1e-3, atol=1e-3)


def test_the_wiring_is_the_papers(tiny_bert):
    recipe = dexml(planted(), encoder=str(tiny_bert))
    assert [readout.pooling for readout in recipe.encoder.readouts] == ["first"]
    assert recipe.head.temperature == 0.05
    assert recipe.head.negatives == 0
    assert recipe.parts["labels"].encoder is recipe.encoder
    assert sum(p.numel() for p in recipe.head.parameters()) == 0
    assert recipe.optimizers.base["encoder"][0] == 3e-4
    assert recipe.refresh_every == 0
    assert dexml(planted(), encoder=str(tiny_bert), **SAMPLED).refresh_every == 2


def test_labels_that_were_never_trained_on_are_found_by_their_texts(tmp_path):
    """A text of the planted data holds its labels' words; here a fifth of the labels have no training text."""
    whole = planted(n_texts=600)
    unseen = set(range(3, 64, 5))
    known = [label for label in range(64) if label not in unseen]
    row_of = {label: row for row, label in enumerate(known)}
    own = [whole.train.labels[i].indices.tolist() for i in range(len(whole.train))]
    rows = [i for i, labels in enumerate(own) if not unseen & set(labels)]
    train = Corpus.of(
        [whole.train.texts[i] for i in rows], [[row_of[label] for label in own[i]] for i in rows],
        [whole.label_texts[label] for label in known],
        test_texts=["w0a"], test_labels=[[0]], name="planted-known",
    )  # fmt: skip
    arguments = {**SMALL, "tokenizer": "wordpiece", "epochs": 8}
    model = megalabel.train(dexml(train, **arguments), tmp_path / "run", quiet=True)
    larger = model.with_labels([whole.label_texts[label] for label in sorted(unseen)])
    asked = [whole.label_texts[label] for label in sorted(unseen)]
    ids, _ = larger.topk(asked, k=3).numpy()
    hits = [len(known) + i in row for i, row in enumerate(ids.tolist())]
    assert sum(hits) > 0.8 * len(asked)
    assert torch.equal(torch.as_tensor(model.topk(asked, k=3).ids).max() < len(known), torch.tensor(True))


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"temperature": 0.0}, "temperature"),
        ({"negatives": -1}, "negatives"),
        ({"hard_negatives": 2}, "hard_negatives"),
        ({"refresh_every": 0}, "refresh_every"),
        ({"labels_at_once": 0}, "labels_at_once"),
        ({"reduction": "median"}, "reduction"),
        ({"pooling": "mean"}, "pooling"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_before_anything_long_begins(bad, where, nothing_long):
    with pytest.raises(MegalabelError) as caught:
        dexml(planted(), **{**SMALL, **bad})
    assert caught.value.where == where
    assert isinstance(caught.value, SettingError)


@pytest.mark.slow
def test_new_labels_of_wordnet_are_found_by_their_texts(tmp_path):
    """200 labels that no training text had: the share of test texts that find theirs among ten of 4,044."""
    whole = Corpus.bundled("wordnet-4k")
    unseen = np.sort(np.random.default_rng(0).choice(whole.n_labels, 200, replace=False))
    known = np.setdiff1d(np.arange(whole.n_labels), unseen)
    labels = whole.train.labels.tocsr()[:, known]
    rows = np.flatnonzero(np.diff(labels.indptr))
    texts = list(whole.train.texts)
    train = Corpus.of(
        [texts[i] for i in rows], [labels[i].indices.tolist() for i in rows],
        [whole.label_texts[int(i)] for i in known], test_texts=["-"], test_labels=[[0]], name="wordnet-4k",
    )  # fmt: skip
    model = megalabel.train(from_preset("dexml", train, encoder="bag", epochs=1), tmp_path / "run", quiet=True)
    larger = model.with_labels([whole.label_texts[int(i)] for i in unseen])
    answers = {int(label): len(known) + i for i, label in enumerate(unseen)}
    own = [answers.keys() & set(row.indices.tolist()) for row in whole.test.labels.tocsr()]
    asked = [i for i, new in enumerate(own) if new]
    ids, _ = larger.topk([whole.test.texts[i] for i in asked], k=10).numpy()
    hits = [any(answers[label] in row for label in own[i]) for i, row in zip(asked, ids.tolist(), strict=True)]
    assert len(hits) > 100
    assert np.mean(hits) > 0.25  # at random: 0.0025
