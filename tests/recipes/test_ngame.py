"""NGAME on planted data: it learns, resumes with mined batches, and refuses wrong options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import planted

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.errors import MegalabelError, SettingError
from megalabel.heads.dual_encoder import DualEncoderHead
from megalabel.recipes import get
from megalabel.recipes.ngame import NGAME, ngame
from megalabel.testing import check_recipe
from megalabel.training.step import CachedGradients, Plain

SMALL = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=12, batch_size=32, hidden_dim=0, encoder_lr=0.005,
    token_lr=0.02, warmup=0.1, doublings=(2, 4, 6), refresh_every=2, validate_epochs=1.0, log_every=1,
)  # fmt: skip
SOFTMAX = {"loss": "softmax", "temperature": 0.1, "cluster_size": 4}
CACHED = {"accumulation_steps": 3, "labels_at_once": 20, "weighting": "mean", "dropout": 0.1}
WAYS = pytest.mark.parametrize("more", [{}, SOFTMAX, CACHED], ids=["triplet", "softmax", "cached"])


@WAYS
def test_it_learns_and_a_loaded_model_answers_the_same(more, tmp_path):
    corpus = planted()
    model = megalabel.train(ngame(corpus, **{**SMALL, **more}), tmp_path / "run", quiet=True)
    assert type(model.head) is DualEncoderHead
    assert megalabel.evaluate(model, corpus)["P@1"] > 90
    again = megalabel.load(tmp_path / "run")
    a, b = (one.topk(corpus.test.texts, k=5).numpy() for one in (model, again))
    assert (a[0] == b[0]).all()
    np.testing.assert_allclose(a[1], b[1], rtol=1e-5, atol=1e-5)


@WAYS
@pytest.mark.parametrize("validation_fraction", [0.0, 0.1])
def test_the_checks_of_all_recipes_with_mined_batches(more, validation_fraction):
    values = {**SMALL, **more, "epochs": 3, "doublings": (1, 2), "refresh_every": 1}
    check_recipe(lambda corpus: ngame(corpus, **values, validation_fraction=validation_fraction), planted())


def test_batches_follow_the_clusters_of_the_head(tmp_path):
    """After training, the texts of a mined batch share more labels than those of a random batch."""
    recipe = ngame(planted(), **{**SMALL, "validation_fraction": 0.0})
    random = recipe.batches.plan(0)
    megalabel.train(recipe, tmp_path / "run", quiet=True)
    order = recipe.head.get_buffer("order").numpy()
    assert sorted(order) == list(range(len(recipe.batches.rows)))
    assert not np.array_equal(order, np.arange(len(order)))

    def labels_per_batch(plan) -> float:
        return float(np.mean([len(np.unique(recipe.batches.rows.positives(rows)[1])) for rows in plan]))

    assert labels_per_batch(recipe.batches.plan(11)) < 0.95 * labels_per_batch(random)


def test_cached_gradients_are_those_of_the_whole_batch(tmp_path):
    """Texts of one label each, so that no draw differs: three parts end where one part ends, but for rounding."""
    whole, ends = planted(), []
    first = [[int(row.indices[0])] for row in whole.train.labels]
    corpus = Corpus.of(list(whole.train.texts), first, list(whole.label_texts), name="one label each")
    for name, parts in (("one", 1), ("three", 3)):
        values = {**SMALL, "epochs": 1, "validation_fraction": 0.0, "accumulation_steps": parts}
        recipe = ngame(corpus, **values)
        assert isinstance(recipe.step, Plain if parts == 1 else CachedGradients)
        ends.append(megalabel.train(recipe, tmp_path / name, quiet=True))
    a, b = (end.topk(whole.test.texts, k=5).numpy() for end in ends)
    assert (a[0] == b[0]).mean() > 0.95
    np.testing.assert_allclose(a[1], b[1], rtol=1e-2, atol=1e-2)


def test_the_defaults_are_the_published_ones(tiny_bert):
    recipe = ngame(planted(), encoder=str(tiny_bert), warmup=0.1)
    head = recipe.head
    assert (head.loss_kind, head.margin, head.hardest, head.weighting) == ("triplet", 0.3, 10, "softmax")
    assert [readout.pooling for readout in recipe.encoder.readouts] == ["mean"]
    assert recipe.optimizers.base["encoder"][0] == 2e-4
    assert recipe.refresh_every == 5
    assert [recipe.batches.cluster_size(epoch) for epoch in (0, 9, 10, 20, 199, 200)] == [1, 1, 2, 4, 256, 512]
    assert recipe.parts["labels"].encoder is recipe.encoder
    assert sum(p.numel() for p in head.parameters()) == 0
    assert (NGAME.declared["batch_size"].default, NGAME.declared["epochs"].default) == (1600, 300)


def test_random_batches_keep_nothing_per_text():
    recipe = ngame(planted(), **{**SMALL, "doublings": ()})
    assert recipe.refresh_every == 0 and recipe.head.get_buffer("order").numel() == 0
    assert torch.equal(
        torch.from_numpy(recipe.batches.plan(1)[0]), torch.from_numpy(recipe.batches.shuffled(1)[0])
    )


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"margin": 0.0}, "margin"), ({"hardest": 0}, "hardest"), ({"loss": "hinge"}, "loss"),
        ({"weighting": "max"}, "weighting"), ({"cluster_size": 0}, "cluster_size"),
        ({"doublings": (0,)}, "doublings"), ({"refresh_every": 0}, "refresh_every"),
        ({"pooling": "first"}, "pooling"), ({"temperature": 0}, "temperature"),
    ],
    ids=str,
)  # fmt: skip
def test_wrong_options_are_refused_before_anything_long_begins(bad, where, nothing_long):
    with pytest.raises(MegalabelError) as caught:
        get("ngame")(planted(), **{**SMALL, **bad})
    assert caught.value.where == where and isinstance(caught.value, SettingError)
