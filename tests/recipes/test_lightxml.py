"""LightXML on planted data: it learns, it is wired as in the paper, and wrong options are refused."""

from __future__ import annotations

import json

import pytest
import torch
from planted import planted

import megalabel
from megalabel.errors import MegalabelError, SettingError
from megalabel.recipes.lightxml import lightxml
from megalabel.testing import check_recipe
from megalabel.training.optim.row_sparse import RowAdam, RowSGD
from megalabel.training.optim.schedule import WarmupConstant

SMALL = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=15, batch_size=32, hidden_dim=0, dropout=0.1,
    clusters=(8,), candidates=4, bottleneck=32, head_lr=0.02, encoder_lr=0.005, token_lr=0.02,
    average_from=1.0, log_every=1,
)  # fmt: skip
AVERAGED = {"average_from": 0.6, "average_every": 3, "head_optimizer": "adagrad"}
SUMMED = {
    "head_optimizer": "sgd", "reduction": "sum", "head_lr": 0.05, "bias_from_prior": True, "bottleneck": 0,
    "label_texts": "yes", "accumulation_steps": 2,
}  # fmt: skip


@pytest.mark.parametrize("more", [{}, AVERAGED, SUMMED], ids=["last", "averaged adagrad", "sgd"])
def test_it_learns_and_a_loaded_model_answers_the_same(more, tmp_path):
    corpus = planted()
    model = megalabel.train(lightxml(corpus, **{**SMALL, **more}), tmp_path / "run", quiet=True)
    assert megalabel.evaluate(model, corpus)["P@1"] > 90
    again = megalabel.load(tmp_path / "run")
    a, b = (one.topk(corpus.test.texts, k=5).numpy() for one in (model, again))
    assert (a[0] == b[0]).all()
    assert (a[1] == b[1]).all()
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [line["recall level 0"] for line in lines if "recall level 0" in line][-1] > 95


@pytest.mark.parametrize("more", [{}, AVERAGED, SUMMED], ids=["last", "averaged adagrad", "sgd"])
def test_the_checks_of_all_recipes(more):
    check_recipe(lambda corpus: lightxml(corpus, **{**SMALL, **more, "epochs": 4}), planted())


def test_the_wiring_is_the_papers(deep_bert):
    recipe = lightxml(planted(), encoder=str(deep_bert), max_length=16, clusters=(8,), candidates=3)
    readout = recipe.encoder.readouts[0]
    assert [round(12 * layer) for layer in readout.layers] == [12, 11, 10, 9, 8]
    assert readout.pooling == "first"
    assert recipe.encoder.dim == recipe.head.dim == 5 * 32
    assert recipe.encoder.dropout.p == 0.5
    assert recipe.head.bottleneck.out_features == 300
    assert (recipe.head.n_groups, recipe.head.candidates, recipe.head.reduction) == (8, 3, "mean")
    assert isinstance(recipe.optimizers["head"], RowAdam)
    assert {name: rates[0] for name, rates in recipe.optimizers.base.items()} == {
        "encoder": 1e-4, "head": 1e-4, "bottleneck": 1e-4,
    }  # fmt: skip
    assert recipe.schedule == WarmupConstant(recipe.batches.steps, 0)
    assert recipe.schedule(0) == recipe.schedule(10**6) == 1
    assert recipe.averaging.start == int(0.27 * recipe.batches.steps)
    assert recipe.averaging.every == 3000


def test_a_shallow_encoder_is_refused_unless_fewer_layers_are_asked_for(tiny_bert):
    arguments = {"encoder": str(tiny_bert), "max_length": 16, "clusters": (8,)}
    with pytest.raises(SettingError) as caught:
        lightxml(planted(), **arguments)
    assert caught.value.where == "last_layers"
    assert lightxml(planted(), **arguments, last_layers=2).encoder.dim == 2 * 32


def test_more_candidates_than_groups_are_all_groups():
    recipe = lightxml(planted(), **{**SMALL, "candidates": 75, **SUMMED})
    assert recipe.head.candidates == 8
    assert isinstance(recipe.optimizers["head"], RowSGD)
    assert recipe.averaging is None


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"clusters": (4, 8)}, "clusters"),
        ({"clusters": (512,)}, "clusters"),
        ({"candidates": 0}, "candidates"),
        ({"bottleneck": -1}, "bottleneck"),
        ({"last_layers": 0}, "last_layers"),
        ({"reduction": "median"}, "reduction"),
        ({"average_from": 1.5}, "average_from"),
        ({"average_every": 0}, "average_every"),
        ({"pooling": "mean"}, "pooling"),
        ({"warmup": 5000}, "warmup"),
    ],
    ids=str,
)
def test_wrong_options_are_refused_before_anything_long_begins(bad, where, nothing_long):
    with pytest.raises(MegalabelError) as caught:
        lightxml(planted(), **{**SMALL, **bad})
    assert caught.value.where == where


def test_averaging_of_weights_is_what_is_saved(tmp_path):
    """The model is the mean of the weights after steps 30, 33, … of 40, not the last weights."""
    corpus, kept = planted(), []
    arguments = {**SMALL, "epochs": 4, "average_from": 0.75, "average_every": 3}
    recipe = lightxml(corpus, **arguments, validation_fraction=0.0)
    update = recipe.averaging.update

    def noted(step: int, encoder: torch.nn.Module, head: torch.nn.Module) -> None:
        update(step, encoder, head)
        if step >= recipe.averaging.start and (step - recipe.averaging.start) % 3 == 0:
            kept.append(head.group_weight.detach().clone())

    recipe.averaging.update = noted
    model = megalabel.train(recipe, tmp_path / "run", quiet=True)
    assert len(kept) > 2
    torch.testing.assert_close(model.head.group_weight.detach(), torch.stack(kept).mean(0))
