"""Strategies of a step, means over micro-batches, and averages of weights."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from planted import planted
from support.small_recipes import LIGHT, Contrastive, losses, made, with_head

import megalabel
from megalabel.heads.dense import DenseHead
from megalabel.recipes.renee import renee
from megalabel.testing import check_recipe
from megalabel.training.optim.averaging import WeightAverage
from megalabel.training.optim.groups import Optimizers, lazy_adam, plain_adam
from megalabel.training.step import CachedGradients


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
