"""Strategies of a step, means over micro-batches, weight averages, parts, and batches that look at the model."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted
from torch import nn

import megalabel
from megalabel.encoders.labels import LabelTexts
from megalabel.errors import DataError, MegalabelError, SettingError
from megalabel.heads.abilities import BindsLabels
from megalabel.heads.base import Head
from megalabel.heads.dense import DenseHead
from megalabel.inputs.batches import Batches
from megalabel.inputs.token_store import TokenStore
from megalabel.recipes.renee import renee
from megalabel.testing import check_recipe
from megalabel.training.optim.averaging import WeightAverage
from megalabel.training.optim.groups import Optimizers, adamw, lazy_adam, plain_adam
from megalabel.training.step import CachedGradients
from megalabel.types import Positives, TopK

LIGHT = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=2, batch_size=48, warmup=0.1, dropout=0.2, bias=True,
    head_optimizer="adamw", head_lr=0.02, head_init_std=0.0, encoder_lr=0.002, token_lr=0.02, log_every=1,
    label_texts="no", validation_fraction=0.1,
)  # fmt: skip


def made(**changes: object):
    """Renée on the planted data, with other fields of the recipe."""
    return replace(renee(planted(), **LIGHT), **changes)


def with_head(head: Head, **changes: object):
    """The same with another head, which AdamW trains where it has parameters."""
    recipe = made()
    encoder = recipe.encoder
    optimizers = Optimizers(
        encoder=plain_adam(encoder, 0.002), tokens=lazy_adam(encoder, 0.02), of_head=adamw(head, 0.02)
    )
    return replace(recipe, head=head, optimizers=optimizers, **changes)


def losses(out) -> list[float]:
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_micro_batches_have_the_loss_and_the_gradient_of_one_batch(reduction, tmp_path):
    def run(parts: int):
        recipe = made()
        recipe.encoder.dropout.p = 0.0
        torch.manual_seed(0)
        head = DenseHead(64, 256, bias=True, reduction=reduction, init_std=0.01)
        named = {"of_head": torch.optim.SGD(head.parameters(), lr=0.5 if reduction == "mean" else 1e-4)}
        named["encoder"] = plain_adam(recipe.encoder, 0.002)
        named["tokens"] = lazy_adam(recipe.encoder, 0.02)
        recipe = replace(recipe, head=head, optimizers=Optimizers(**named), accumulation_steps=parts)
        out = tmp_path / f"{parts}"
        return megalabel.train(recipe, out, device="cpu", quiet=True).head.weight, losses(out)

    (whole, logged), (in_parts, logged_in_parts) = run(1), run(3)
    torch.testing.assert_close(in_parts, whole, rtol=1e-3, atol=1e-5)
    np.testing.assert_allclose(logged_in_parts, logged, rtol=1e-3)
    assert len(logged) == len(logged_in_parts) == made().batches.steps


def test_the_loss_is_logged_where_the_head_computes_it_only_now_and_then(tmp_path):
    recipe = renee(planted(), **{**LIGHT, "log_every": 4, "accumulation_steps": 3})
    megalabel.train(recipe, tmp_path / "r", quiet=True)
    assert len(losses(tmp_path / "r")) == len(range(0, recipe.batches.steps, 4))


class Contrastive(Head):
    """Softmax over the labels of the batch: a loss that compares the texts of a batch with each other."""

    reduction = "mean"

    def __init__(self, n_labels: int, dim: int) -> None:
        super().__init__()
        self.n_labels, self.dim = n_labels, dim
        self.weight = nn.Parameter(torch.zeros(n_labels, dim))

    def loss(self, views, positives):
        present, where = positives.labels.unique(return_inverse=True)
        logits = (views[:, 0] @ self.weight[present].T).log_softmax(1)
        return -logits[positives.rows, where].mean()

    def topk(self, views, k, *, exclude=None, row_to_label=None):
        scores = views[:, 0] @ self.weight.T
        if exclude is not None:
            scores[exclude.rows, exclude.labels] = -torch.inf
        best = scores.detach().topk(min(k, self.n_labels))
        return TopK(best.indices, best.values)

    def config(self):
        return {"n_labels": self.n_labels, "dim": self.dim}


def test_cached_gradients_are_those_of_the_whole_batch(tmp_path):
    def run(**changes):
        recipe = with_head(Contrastive(64, 256), **changes)
        recipe.encoder.dropout.p = 0.0
        return megalabel.train(recipe, tmp_path / str(len(list(tmp_path.iterdir()))), device="cpu", quiet=True)

    whole, cached, in_parts = run(), run(step=CachedGradients(4)), run(accumulation_steps=4)
    torch.testing.assert_close(cached.head.weight, whole.head.weight, rtol=1e-3, atol=1e-4)
    assert float((in_parts.head.weight - whole.head.weight).detach().abs().max()) > 1e-2


def test_cached_gradients_repeat_the_dropout_of_the_first_pass(tmp_path):
    check_recipe(lambda corpus: with_head(Contrastive(64, 256), step=CachedGradients(3)), planted())


@pytest.mark.parametrize("decay", [None, 0.9])
def test_averaged_weights_are_validated_saved_and_resumed(decay):
    check_recipe(lambda corpus: made(averaging=WeightAverage(decay, start=3, every=2)), planted())


def test_the_mean_of_weights_is_saved_in_place_of_the_last(tmp_path):
    kept = []

    class Watched(WeightAverage):
        def update(self, step, encoder, head):
            super().update(step, encoder, head)
            kept.append(head.weight.detach().clone())

    model = megalabel.train(made(averaging=Watched(), validation=()), tmp_path / "r", device="cpu", quiet=True)
    torch.testing.assert_close(model.head.weight, torch.stack(kept).mean(0), rtol=1e-4, atol=1e-6)
    assert torch.equal(model.head.weight, megalabel.load(tmp_path / "r").head.weight)


class Mined(DenseHead):
    """A dense head that keeps a cluster of each training text, renewed every epoch."""

    def __init__(self, n_texts: int, *args, **settings) -> None:
        super().__init__(*args, **settings)
        self.register_buffer("clusters", torch.zeros(n_texts, dtype=torch.int64))
        self.refreshed = 0

    def refresh(self, embeddings):
        views, positives = embeddings()
        self.refreshed += 1
        self.clusters[positives.texts] = views[:, 0].argmax(1)

    def loss(self, views, positives):
        assert positives.texts is not None and len(positives.texts) == len(views)
        return super().loss(views, positives)

    def config(self):
        return {"n_texts": len(self.clusters), **super().config()}


class ByCluster(Batches):
    """Batches of texts whose clusters are near, so that the plan depends on the model."""

    ahead = False
    head: Mined

    def plan(self, epoch):
        order = np.argsort(
            self.head.clusters.numpy() + np.random.default_rng([self.seed, epoch]).random(len(self.rows))
        )
        return [order[i : i + self.size] for i in range(0, len(order), self.size)]


def mined(epochs: int = 3):
    recipe = renee(planted(), **{**LIGHT, "epochs": epochs})
    torch.manual_seed(0)
    head = Mined(len(recipe.batches.rows), 64, 256, bias=True)
    batches = ByCluster(recipe.batches.rows, 48, epochs, seed=0, pad_id=recipe.batches.pad_id)
    batches.head = head
    named = {"encoder": plain_adam(recipe.encoder, 0.01), "tokens": lazy_adam(recipe.encoder, 0.1)}
    optimizers = Optimizers(of_head=adamw(head, 0.02), **named)
    return replace(recipe, head=head, batches=batches, optimizers=optimizers, refresh_every=1)


def test_batches_that_look_at_the_model_resume_exactly(tmp_path):
    check_recipe(lambda corpus: mined(), planted())


def test_the_head_is_refreshed_before_each_epoch(tmp_path):
    recipe = mined()
    megalabel.train(recipe, tmp_path / "r", device="cpu", quiet=True)
    assert recipe.head.refreshed == 3


class Dual(BindsLabels, Head):
    """Label vectors are those of the labels' texts; softmax over the labels of the batch."""

    reduction = "mean"

    def __init__(self, n_labels: int, dim: int) -> None:
        super().__init__()
        self.n_labels, self.dim = n_labels, dim
        self.register_buffer("vectors", torch.zeros(n_labels, dim))

    def loss(self, views, positives: Positives):
        present, where = positives.labels.unique(return_inverse=True)
        labels = nn.functional.normalize(self.label_texts(present)[:, 0], dim=1)
        logits = (20 * nn.functional.normalize(views[:, 0], dim=1) @ labels.T).log_softmax(1)
        return -logits[positives.rows, where].mean()

    def settle(self):
        self.vectors.copy_(nn.functional.normalize(self.label_texts.all_views()[:, 0], dim=1))

    def topk(self, views, k, *, exclude=None, row_to_label=None):
        scores = nn.functional.normalize(views[:, 0], dim=1) @ self.vectors.T
        if exclude is not None:
            scores[exclude.rows, exclude.labels] = -torch.inf
        best = scores.detach().topk(min(k, self.n_labels))
        return TopK(best.indices, best.values)

    def config(self):
        return {"n_labels": self.n_labels, "dim": self.dim}


def dual(corpus, shared: bool = True):
    recipe = renee(corpus, **{**LIGHT, "epochs": 4})
    encoder = recipe.encoder if shared else renee(corpus, **LIGHT).encoder
    store = TokenStore.build(corpus.label_texts, encoder.tokenizer, 16)
    side = LabelTexts(store, encoder, shared=shared)
    named = {"encoder": plain_adam(recipe.encoder, 0.002), "tokens": lazy_adam(recipe.encoder, 0.02)}
    if not shared:
        named |= {"labels": plain_adam(encoder, 0.002), "label_tokens": lazy_adam(encoder, 0.02)}
    head = Dual(corpus.n_labels, recipe.encoder.dim)
    return replace(recipe, head=head, optimizers=Optimizers(**named), parts={"labels": side})


@pytest.mark.parametrize("shared", [True, False])
def test_a_dual_encoder_trains_resumes_and_loads(shared):
    check_recipe(lambda corpus: dual(corpus, shared), planted())


def test_a_loaded_dual_encoder_ranks_labels_that_it_never_saw(tmp_path):
    corpus = planted()
    megalabel.train(dual(corpus), tmp_path / "r", device="cpu", quiet=True)
    model = megalabel.load(tmp_path / "r", trust=[Dual.__module__.split(".")[0]])
    new = model.with_labels(["w3a w3b", "w9a w9b", "nothing"])
    assert [best[0][0] for best in new.predict(["w9b w9a", "w3a w3b"], 1)] == ["w9a w9b", "w3a w3b"]
    new.save(tmp_path / "new")
    again = megalabel.load(tmp_path / "new", trust=[Dual.__module__.split(".")[0]])
    assert np.array_equal(again.topk(["w3a"], 3).scores, new.topk(["w3a"], 3).scores)


def test_other_heads_cannot_take_new_labels(tmp_path):
    model = megalabel.train(made(), tmp_path / "r", device="cpu", quiet=True)
    with pytest.raises(SettingError):
        model.with_labels(["a", "b"])


def test_further_parts_are_checkpointed_and_not_saved(tmp_path):
    teacher = nn.Linear(3, 3).requires_grad_(False)

    class Stop(Exception):
        pass

    def stop(line):
        if line["step"] == 5:
            raise Stop

    with pytest.raises(Stop):
        recipe = made(parts={"teacher": teacher})
        megalabel.train(recipe, tmp_path / "r", quiet=True, checkpoint_steps=2, callback=stop)
    assert [p.name for p in (tmp_path / "r" / "last").glob("*/teacher.safetensors")]
    other = nn.Linear(3, 3).requires_grad_(False)
    megalabel.train(made(parts={"teacher": other}), tmp_path / "r", quiet=True)
    assert torch.equal(other.weight, teacher.weight)
    assert not (tmp_path / "r" / "model" / "teacher.safetensors").exists()


def broken(**methods):
    return type("Broken", (Contrastive,), methods)(64, 256)


@pytest.mark.parametrize(
    "head",
    [
        broken(config=lambda self: {"n_labels": self.n_labels, "dim": self.dim, "weight": self.weight}),
        broken(config=lambda self: {"n_labels": self.n_labels - 1, "dim": self.dim}),
        broken(config=lambda self: {"size": self.n_labels}),
        broken(topk=lambda self, views, k, **_: TopK(*(torch.zeros(len(views), 3),) * 2)),
        broken(loss=lambda self, views, positives: views.sum(1)),
        broken(loss=lambda self, views, positives: views.sum() * float("nan")),
    ],
    ids=["config is no JSON", "config of another shape", "config is refused", "topk", "loss is no scalar", "NaN"],
)
def test_a_broken_head_is_refused_at_once(head, tmp_path):
    lines = []
    with pytest.raises(MegalabelError) as raised:
        megalabel.train(with_head(head), tmp_path / "r", quiet=True, callback=lines.append)
    assert isinstance(raised.value, (SettingError, DataError))
    assert lines == []


@pytest.mark.parametrize("twice", [False, True])
def test_a_parameter_must_be_in_exactly_one_optimizer(twice, tmp_path):
    recipe = made()
    named = {**recipe.optimizers.named}
    if twice:
        named["again"] = adamw(recipe.head, 0.1)
    else:
        del named["head"]
    with pytest.raises(SettingError):
        megalabel.train(replace(recipe, optimizers=Optimizers(**named)), tmp_path / "r", quiet=True)


def test_the_best_validation_is_recorded_and_the_callback_sees_the_log(tmp_path):
    lines = []
    megalabel.train(made(), tmp_path / "r", quiet=True, callback=lines.append)
    assert lines == [json.loads(line) for line in (tmp_path / "r" / "log.jsonl").read_text().splitlines()]
    best = json.loads((tmp_path / "r" / "recipe.json").read_text())["best_validation"]
    reached = {line["step"] + 1: line["validation"]["nDCG@5"] for line in lines if "validation" in line}
    assert best["metric"] == "nDCG@5"
    assert best["value"] == max(reached.values()) == reached[best["step"]]


def test_a_run_with_other_held_out_texts_is_not_taken_up(tmp_path):
    megalabel.train(made(), tmp_path / "r", quiet=True)
    other = np.sort(np.random.default_rng(5).permutation(400)[:40])
    with pytest.raises(SettingError):
        megalabel.train(made(validation=other), tmp_path / "r", quiet=True)
