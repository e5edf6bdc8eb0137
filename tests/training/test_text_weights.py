"""Weights of texts in training: equal ones change nothing, 0 leaves a text out, and no recipe ignores them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from bag_runs import BAG, KNOBS
from planted import planted
from support.small_recipes import Contrastive, with_head

import megalabel
from megalabel.data.corpus import Corpus
from megalabel.data.subsets import rows_of
from megalabel.errors import SettingError
from megalabel.heads.base import Head, uses_weights
from megalabel.heads.dense import DenseHead
from megalabel.heads.wrappers.projection import WithProjection
from megalabel.inputs.batches import Batches
from megalabel.models.retrieval import rankings
from megalabel.recipes import get
from megalabel.training.recipe import DirectRecipe
from megalabel.training.run import train

SMALL = {
    "renee": {**KNOBS["renee"], "label_texts": "yes"},
    "spartex": {**KNOBS["spartex"], "dense_fraction": 0.1},
    "cascadexml": {**KNOBS["cascadexml"], "warmup_epochs": 0.5},
    "lightxml": dict(BAG),
    "dexml": dict(BAG),
    "ngame": dict(BAG, warmup=0.1),
}
for name in ("dexml", "ngame"):
    del SMALL[name]["head_lr"], SMALL[name]["hidden_dim"]


def corpus(weights: object = None, n_texts: int = 120) -> Corpus:
    data = planted(n_texts=n_texts)
    return (
        data if weights is None else replace(data, train=replace(data.train, weights=np.asarray(weights, float)))
    )


def made(name: str, data: Corpus, **more: object):
    options: dict[str, object] = {"validation_fraction": 0.0, "trees": 1, "clusters": (4,)}
    if name != "linear":
        options = {**SMALL[name], "epochs": 1, "validation_fraction": 0.0}
    return get(name)(data, **{**options, **more})


def scores(name: str, data: Corpus, folder, **more: object) -> np.ndarray:
    model = train(made(name, data, **more), folder, quiet=True)
    return np.sort(model.topk(data.test.texts, 64).numpy()[1], axis=1)


@pytest.mark.parametrize("name", [*SMALL, "linear"])
def test_equal_weights_change_no_bit_and_others_do(name, tmp_path):
    none = scores(name, corpus(), tmp_path / "none")
    equal = scores(name, corpus([3.0] * 120), tmp_path / "equal")
    np.testing.assert_array_equal(none, equal)
    random = np.random.default_rng(0).choice([0.5, 1, 4], 120)
    assert not np.array_equal(none, scores(name, corpus(random), tmp_path / "random"))


@pytest.mark.parametrize("name", ["renee", "linear"])
def test_a_weight_of_0_leaves_the_text_out(name, tmp_path):
    rows = np.flatnonzero(np.arange(120) % 3)
    weights = np.where(np.arange(120) % 3, 2.0, 0.0)
    data = corpus(weights)
    rest = replace(corpus(), train=rows_of(corpus().train, rows))
    more = {"tokenizer": "wordpiece"} if name == "renee" else {}
    zeros = scores(name, data, tmp_path / "zeros", **more)
    np.testing.assert_array_equal(zeros, scores(name, rest, tmp_path / "rest", **more))


def test_the_scale_of_the_weights_does_not_matter(tmp_path):
    random = np.random.default_rng(0).choice([0.5, 1, 4], 120)
    one, other = (scores("linear", corpus(w), tmp_path / f"{i}") for i, w in enumerate((random, random * 1024)))
    np.testing.assert_array_equal(one, other)


def test_batches_have_normalized_weights_and_label_texts_weigh_1():
    weights = np.random.default_rng(0).random(120) + 0.1
    recipe = made("renee", corpus(weights), validation_fraction=0.2)
    kept = np.setdiff1d(np.arange(120), recipe.validation)
    batch = recipe.batches.collate(np.arange(len(recipe.batches.rows)), 0)
    found = batch.positives.weights
    torch.testing.assert_close(
        found[: len(kept)].double(), torch.from_numpy(weights[kept] / weights[kept].mean()), rtol=1e-6, atol=0
    )
    assert (found[len(kept) :] == 1).all() and len(found) == len(kept) + 64
    part = batch.of_texts(3, 7).positives
    assert torch.equal(part.weights, found[3:7])


def test_a_hybrid_uses_the_weights_of_its_run(tmp_path):
    random = np.random.default_rng(0).choice([0.0, 0.5, 1, 4], 120)
    found = {}
    for name, weights in (("none", None), ("random", random)):
        data = corpus(weights)
        train(made("renee", data, validation_fraction=0.2), tmp_path / name, quiet=True)
        recipe = get("hybrid")(data, run=str(tmp_path / name), clusters=(4,), trees=1, joint_trees=1)
        model = train(recipe, tmp_path / f"h-{name}", quiet=True)
        found[name] = model.topk(data.test.texts, 5).numpy()[1]
    assert not np.array_equal(found["none"], found["random"])


def test_a_head_that_ignores_weights_is_refused_by_name(tmp_path):
    data = corpus(np.arange(400) + 1, n_texts=400)
    recipe = replace(with_head(Contrastive(64, made("renee", corpus()).encoder.dim)), data=data)
    with pytest.raises(SettingError, match=r"Contrastive does not use.*uses_weights"):
        train(recipe, tmp_path / "a", quiet=True)


class Unaware(Batches):
    """Batches of a third party that make their own positives."""

    def collate(self, rows, step):
        batch = super().collate(rows, step)
        return replace(batch, positives=replace(batch.positives, weights=None))


def test_batches_without_weights_are_refused_by_name(tmp_path):
    recipe = made("renee", corpus(np.arange(120) + 1))
    own = Unaware(recipe.batches.rows, 16, 1)
    with pytest.raises(SettingError, match="Unaware does not use"):
        train(replace(recipe, batches=own), tmp_path / "a", quiet=True)


def test_a_solver_that_ignores_weights_is_refused(tmp_path):
    recipe = made("linear", corpus(np.arange(120) + 1))
    with pytest.raises(SettingError, match="weights of its training texts"):
        train(DirectRecipe(recipe.data, recipe.solve, name="own"), tmp_path / "a", quiet=True)


def test_in_retrieval_a_weight_multiplies_the_votes_of_a_text(tmp_path):
    texts = ["red apple", "red apple", "blue berry", "green plum"] * 10
    labels = [["fruit"], ["food"], ["berry"], ["plum"]] * 10
    weights = np.tile([1.0, 5.0, 1.0, 0.0], 10)
    found = {}
    for name, given in (("none", None), ("weighted", weights)):
        data = Corpus.of(texts, labels, weights=given)
        model = train(get("retrieval")(data, label_texts="no"), tmp_path / name, quiet=True)
        found[name] = [label for label, _ in model.predict(["red apple"], k=4)[0]]
        index = model.index
        votes = rankings(index, model.text.transform(["red apple"]), 4)[0]
        shares = dict(zip(votes.ids[0].tolist(), votes.scores[0].tolist(), strict=True))
        food, fruit = (list(data.label_texts).index(name) for name in ("food", "fruit"))
        assert shares[food] / shares[fruit] == pytest.approx(5 if given is not None else 1, rel=1e-4)
        assert sum(shares[i] for i in (food, fruit)) == pytest.approx(1, rel=1e-4)
    assert found["weighted"][0] == "food"
    assert (index.known.row_labels[:, list(data.label_texts).index("plum")].sum()) == 0


class Other(DenseHead):
    """A head of a third party with another loss."""

    def loss(self, views, positives):
        return super().loss(views, positives) * 2


class Aware(Other):
    uses_weights = True


def test_the_class_of_the_loss_declares_that_it_uses_weights():
    assert uses_weights(DenseHead(3, 2))
    assert uses_weights(WithProjection(DenseHead(3, 2), 4))
    assert not uses_weights(Other(3, 2))
    assert uses_weights(Aware(3, 2))
    assert not uses_weights(Contrastive(3, 2))
    assert isinstance(Aware(3, 2), Head)


def test_validation_is_not_weighted(tmp_path):
    """A run whose held-out texts have other weights than before chooses the same step with the same metrics."""
    weights = np.ones(120)
    recipe = made("renee", corpus(weights), validation_fraction=0.2, epochs=2)
    weights[recipe.validation] = np.random.default_rng(0).random(len(recipe.validation))
    found = []
    for i, own in enumerate((np.ones(120), weights)):
        lines: list[dict] = []
        again = made("renee", corpus(own), validation_fraction=0.2, epochs=2)
        megalabel.train(again, tmp_path / f"{i}", quiet=True, callback=lines.append)
        found.append([line["validation"] for line in lines if "validation" in line])
    assert found[0] and found[0] == found[1]
