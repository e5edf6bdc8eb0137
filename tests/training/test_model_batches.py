"""Batches that are chosen by the model, and heads that are refreshed before each epoch."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from planted import planted
from support.small_recipes import LIGHT

import megalabel
from megalabel.heads.dense import DenseHead
from megalabel.inputs.batches import Batches
from megalabel.recipes.renee import renee
from megalabel.testing import check_recipe
from megalabel.training.optim.groups import Optimizers, adamw, lazy_adam, plain_adam


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
