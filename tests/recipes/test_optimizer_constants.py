"""Every constant of an optimizer is an option, and reaches the optimizer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from bag_runs import KNOBS
from planted import planted

import megalabel
from megalabel.errors import SettingError
from megalabel.heads.sparse import SparseHead
from megalabel.kernels.updates.adam_rule import AdamRule, CoupledAdamRule
from megalabel.recipes import get
from megalabel.training.optim.groups import FusedAdam, Optimizers
from megalabel.types import Positives

MORE = {
    "renee": {"warmup": 0.1, "head_optimizer": "adamw"},
    "elmo": {"warmup": 0.1},
    "cascadexml": {"clusters": (4, 16), "schedule": "cosine", "layers": (0.5, 0.5, 1.0, 1.0)},
    "lightxml": {"clusters": (8,), "last_layers": 2},
    "spartex": {"fan_in": 8, "prune": "none", "auxiliary_epochs": 1, "projection_dim": 32, "warmup": 0.1},
    "dexml": {"warmup": 0.1},
    "ngame": {"warmup": 0.1},
}
PUBLISHED_EPS = {
    "renee": 1e-6, "elmo": 1e-6, "cascadexml": 1e-6, "lightxml": 1e-8, "spartex": 1e-8, "dexml": 1e-8,
    "ngame": 1e-8,
}  # fmt: skip


def made(recipe: str, encoder: Path, **values):
    fixed = {"encoder": str(encoder), "max_length": 16, "epochs": 20, "batch_size": 32}
    return get(recipe)(planted(), **{**fixed, **MORE[recipe], **values})


@pytest.mark.parametrize("recipe", MORE)
def test_the_constants_of_the_encoder_are_the_papers_and_options(recipe, tiny_bert):
    group = made(recipe, tiny_bert).optimizers["encoder"].param_groups[0]
    assert (tuple(group["betas"]), group["eps"]) == ((0.9, 0.999), PUBLISHED_EPS[recipe])
    other = made(recipe, tiny_bert, encoder_betas=(0.8, 0.99), encoder_eps=1e-5).optimizers
    for name in set(other.named) & {"encoder", "auxiliary", "intermediate", "bottleneck"}:
        group = other[name].param_groups[0]
        assert (tuple(group["betas"]), group["eps"]) == ((0.8, 0.99), 1e-5), name


@pytest.mark.parametrize("recipe", ["renee", "cascadexml", "lightxml", "spartex"])
def test_the_constants_of_the_classifier_are_options(recipe, tiny_bert):
    head = made(recipe, tiny_bert, head_betas=(0.8, 0.99), head_eps=1e-5).optimizers["head"]
    for one in getattr(head, "rules", [head.param_groups[0] if hasattr(head, "defaults") else head]):
        betas, eps = (one["betas"], one["eps"]) if isinstance(one, dict) else (one.betas, one.eps)
        assert (tuple(betas), eps) == ((0.8, 0.99), 1e-5)


@pytest.mark.parametrize("recipe", MORE)
def test_the_constants_of_token_embeddings_and_bags_are_options(recipe):
    bag = {"encoder": "bag", "tokenizer": "words", "token_betas": (0.8, 0.99), "token_eps": 1e-5}
    more = {name: value for name, value in MORE[recipe].items() if name not in ("layers", "last_layers")}
    optimizers = get(recipe)(
        planted(), **{"max_length": 16, "epochs": 20, "batch_size": 32, **more, **bag}
    ).optimizers
    for name in ("encoder", "tokens"):
        assert (optimizers[name].betas, optimizers[name].eps) == ((0.8, 0.99), 1e-5)


def test_spartex_has_the_choices_of_the_authors(tiny_bert):
    for kind, expected in (("adamw", torch.optim.AdamW), ("adam", torch.optim.Adam), ("sgd", torch.optim.SGD)):
        optimizers = made("spartex", tiny_bert, encoder_optimizer=kind, auxiliary_weight_decay=0.0).optimizers
        for name in ("encoder", "auxiliary", "intermediate"):
            assert type(optimizers[name]) is expected, (kind, name)
        assert optimizers["auxiliary"].param_groups[0]["weight_decay"] == 0.0
        assert optimizers["intermediate"].param_groups[0]["weight_decay"] == 0.01
    for kind, rule in (("adamw", AdamRule), ("adam", CoupledAdamRule)):
        assert type(made("spartex", tiny_bert, head_optimizer=kind).optimizers["head"].rules[0]) is rule


def test_a_threshold_can_stay_as_it_is(tiny_bert):
    values = {"prune": "threshold", "prune_threshold": 0.01, "rewire_every": 20}
    for anneal in (True, False):
        head = made("spartex", tiny_bert, prune_anneal=anneal, **values).head
        sparse = next(part for part in head.modules() if isinstance(part, SparseHead))
        assert (sparse.rewiring.threshold_at(100) == 0.01) is not anneal


@pytest.mark.parametrize("parts", [1, 2])
@pytest.mark.parametrize("decay_bias", [True, False])
def test_coupled_adam_of_a_sparse_head_is_torchs_adam(parts, decay_bias):
    torch.manual_seed(0)
    ours, theirs = (SparseHead(40, 16, fan_in=4, distinct_inputs=False, seed=1) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    optimizers = Optimizers(head=FusedAdam(ours, 0.01, 0.1, decay_bias=decay_bias, coupled=True))
    decayed = [
        {"params": [theirs.weight], "weight_decay": 0.1},
        {"params": [theirs.bias], "weight_decay": 0.1 * decay_bias},
    ]
    reference = torch.optim.Adam(decayed, lr=0.01)
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    for _ in range(4):
        x, pairs = torch.randn(8, 1, 16), (torch.arange(8), torch.randint(0, 40, (8,)))
        size = 8 // parts
        for i in range(parts):
            optimizers.begin(i, parts)
            rows = slice(i * size, (i + 1) * size)
            own = Positives.from_pairs(torch.arange(size), pairs[1][rows])
            (ours.loss(x[rows].requires_grad_(), own) / parts).backward()
        optimizers.step(scaler)
        theirs.loss(x, Positives.from_pairs(*pairs)).backward()
        reference.step()
        reference.zero_grad()
        torch.testing.assert_close(ours.weight, theirs.weight, rtol=1e-4, atol=1e-6)
        torch.testing.assert_close(ours.bias, theirs.bias, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("recipe", "values", "named"),
    [
        ("spartex", {"encoder_betas": (0.9,)}, "encoder_betas"),
        ("renee", {"head_betas": (0.9, 1.0)}, "head_betas"),
        ("renee", {"head_eps": 0.0}, "head_eps"),
        ("cascadexml", {"encoder_betas": (0.8, 0.999), "schedule": "three-phase"}, "encoder_betas"),
    ],
)
def test_constants_that_cannot_be_are_refused(recipe, values, named):
    with pytest.raises(SettingError, match=named):
        get(recipe).options(**{"epochs": 20, **values})


def test_a_run_from_before_these_options_is_the_same_run(tmp_path):
    megalabel.train(get("spartex")(planted(), **KNOBS["spartex"]), tmp_path / "r", quiet=True)
    path = tmp_path / "r" / "recipe.json"
    facts = json.loads(path.read_text())
    for name in ("encoder_betas", "encoder_eps", "head_betas", "encoder_optimizer", "prune_anneal"):
        del facts["arguments"][name]
    path.write_text(json.dumps(facts))
    megalabel.train(get("spartex")(planted(), **KNOBS["spartex"]), tmp_path / "r", quiet=True)  # loads it
    with pytest.raises(SettingError, match="encoder_eps = 1e-08, not 1e-06"):
        again = get("spartex")(planted(), **{**KNOBS["spartex"], "encoder_eps": 1e-6})
        megalabel.train(again, tmp_path / "r", quiet=True)
