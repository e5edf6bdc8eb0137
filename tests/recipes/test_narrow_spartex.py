"""Spartex with narrow weights: it learns, is resumed and saved, and wrong options are refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from planted import planted
from support.light_runs import cut_off

import megalabel
from megalabel.errors import SettingError
from megalabel.recipes.spartex import spartex

SMALL = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=12, batch_size=32, hidden_dim=0, dropout=0.1,
    fan_in=48, prune="fraction", prune_fraction=0.2, rewire_every=20, auxiliary=False, encoder_lr=0.002,
    token_lr=0.02, warmup=0.05,
)  # fmt: skip
ADAGRAD = dict(
    weights="float8", head_optimizer="adagrad", head_lr=0.02, dense_fraction=0.1, reduction="sum",
    regrow_init="uniform",
)  # fmt: skip
SGD = dict(
    weights="bfloat16", momentum_dtype="bfloat16", loss="bce", head_optimizer="sgd", head_lr=0.01,
    bias_from_prior=True, head_init_scale=0.1, regrow="gradient", accumulation_steps=2, compensated_fraction=0.2,
)  # fmt: skip
NARROW = {"float8": torch.float8_e4m3fn, "bfloat16": torch.bfloat16}


def raw(head: torch.nn.Module) -> list[torch.Tensor]:
    """The stored bits of a head."""
    return [t.reshape(-1).view(torch.uint8) for t in head.state_dict().values()]


@pytest.mark.parametrize("more", [ADAGRAD, SGD], ids=["adagrad", "sgd"])
def test_it_learns_and_the_saved_model_is_narrow(more, tmp_path):
    data = planted()
    model = megalabel.train(spartex(data, **{**SMALL, **more}), tmp_path / "run", quiet=True)
    assert megalabel.evaluate(model, data)["P@1"] > 85
    again = megalabel.load(tmp_path / "run")
    dtypes = {t.dtype for name, t in again.head.state_dict().items() if name.endswith("weight")}
    assert dtypes == {NARROW[more["weights"]]}
    assert all(torch.equal(a, b) for a, b in zip(raw(model.head), raw(again.head), strict=True))
    a, b = model.topk(data.test.texts, k=5), again.topk(data.test.texts, k=5)
    assert torch.equal(torch.as_tensor(a.ids), torch.as_tensor(b.ids))


@pytest.mark.parametrize("more", [ADAGRAD, SGD], ids=["adagrad", "sgd"])
def test_an_interrupted_run_ends_with_the_same_bits(more, monkeypatch, tmp_path):
    data, values = planted(), {**SMALL, **more, "epochs": 2, "rewire_every": 5}
    whole = megalabel.train(spartex(data, **values), tmp_path / "whole", quiet=True)
    cut_off(monkeypatch, data, tmp_path / "r", 7, values, spartex)
    resumed = megalabel.train(spartex(data, **values), tmp_path / "r", quiet=True)
    assert all(torch.equal(a, b) for a, b in zip(raw(resumed.head), raw(whole.head), strict=True))
    other = megalabel.train(spartex(data, **values, seed=1), tmp_path / "other", quiet=True)
    assert not all(torch.equal(a, b) for a, b in zip(raw(other.head), raw(whole.head), strict=True))


def test_options_reach_the_rules():
    made = spartex(planted(), **{**SMALL, **SGD, "dense_fraction": 0.1, "seed": 4, "head_momentum": 0.8})
    first, second = made.optimizers["head"].rules
    assert (first.momentum, first.momentum_dtype, first.decay_bias) == (0.8, torch.bfloat16, True)
    assert first.seed == 4 != second.seed
    kept = np.delete(np.arange(400), made.validation)
    counts = np.asarray(planted().train.labels[kept].sum(0)).ravel()
    order = made.head.order
    n = made.head.parts[0].n_labels
    rows = torch.cat([rule.compensated + start for rule, start in ((first, 0), (second, n))])
    assert len(second.compensated) > 0
    assert sorted(order[rows].tolist()) == sorted(np.argsort(-counts, kind="stable")[: round(0.2 * 64)].tolist())


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"weights": "float8"}, "weights"),
        ({"weights": "bfloat16", "head_optimizer": "adam"}, "weights"),
        ({"weights": "int8", "head_optimizer": "sgd"}, "weights"),
        ({"compensated_fraction": 0.1}, "compensated_fraction"),
        ({**ADAGRAD, "compensated_fraction": 0.1}, "compensated_fraction"),
        ({"momentum_dtype": "bfloat16"}, "momentum_dtype"),
        ({"momentum_dtype": "bfloat16", "head_optimizer": "adagrad"}, "momentum_dtype"),
        ({"momentum_dtype": "bfloat16", "head_optimizer": "sgd", "head_momentum": 0.0}, "momentum_dtype"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_long_begins(bad, where, nothing_long):
    with pytest.raises(SettingError) as refused:
        spartex(planted(), **{**SMALL, **bad})
    assert refused.value.where == where
