"""ELMO and narrow weights in renee: they learn, are resumed and saved, and wrong options are refused."""

from __future__ import annotations

import pytest
import torch
from planted import planted
from safetensors import safe_open
from support.light_runs import LIGHT, SHORT, cut_off

import megalabel
from megalabel.data.convert import convert
from megalabel.errors import FormatError, MegalabelError, SettingError
from megalabel.kernels.updates.narrow_sgd_rule import NarrowSGDRule
from megalabel.recipes.elmo import elmo
from megalabel.recipes.renee import renee
from megalabel.testing import check_recipe

SMALL = dict(
    encoder="bag", tokenizer="words", max_length=16, epochs=12, batch_size=32, warmup=0.1, dropout=0.1, bias=True,
    head_lr=0.05, head_init_std=0.0, encoder_lr=0.002, token_lr=0.02, hidden_dim=0,
)  # fmt: skip
NARROW = {**SHORT, "head_optimizer": "sgd", "weights": "float8", "momentum_dtype": "bfloat16"}


def raw(head: torch.nn.Module) -> dict[str, torch.Tensor]:
    """The stored bits of a narrow head."""
    state = head.state_dict()
    return {name: t.view(torch.uint8) if t.itemsize == 1 else t for name, t in state.items()}


@pytest.mark.parametrize("weights", ["float8", "bfloat16"])
def test_it_learns_and_the_saved_model_is_narrow(weights, tmp_path):
    corpus = planted()
    model = megalabel.train(elmo(corpus, **SMALL, weights=weights), tmp_path / "run", quiet=True)
    assert megalabel.evaluate(model, corpus)["P@1"] > 90
    with safe_open(tmp_path / "run" / "model" / "head.safetensors", "pt") as file:
        stored = file.get_tensor("weight")
        assert stored.dtype == {"float8": torch.float8_e4m3fn, "bfloat16": torch.bfloat16}[weights]
        assert torch.equal(stored.float(), model.head.weight.float())
    again = megalabel.load(tmp_path / "run")
    for a, b in zip(
        model.topk(corpus.test.texts, k=5).numpy(), again.topk(corpus.test.texts, k=5).numpy(), strict=True
    ):
        assert (a == b).all()


def test_the_checks_of_all_recipes():
    check_recipe(lambda corpus: elmo(corpus, **{**SMALL, "epochs": 2}, compensated_fraction=0.2), planted())


def test_an_interrupted_run_ends_with_the_same_bits(monkeypatch, tmp_path):
    corpus = planted()
    whole = megalabel.train(renee(corpus, **NARROW), tmp_path / "whole", quiet=True)
    cut_off(monkeypatch, corpus, tmp_path / "r", 7, NARROW)
    resumed = megalabel.train(renee(corpus, **NARROW), tmp_path / "r", quiet=True)
    for ours, theirs in zip(raw(resumed.head).values(), raw(whole.head).values(), strict=True):
        assert torch.equal(ours, theirs)
    other = megalabel.train(renee(corpus, **NARROW, seed=1), tmp_path / "other", quiet=True)
    assert not torch.equal(raw(other.head)["weight"], raw(whole.head)["weight"])


def test_options_reach_the_rule():
    corpus = planted()
    made = renee(corpus, **{**LIGHT, **NARROW, "seed": 4, "compensated_fraction": 0.25, "head_momentum": 0.8})
    (rule,) = made.optimizers["head"].rules
    assert isinstance(rule, NarrowSGDRule)
    assert (rule.seed, rule.momentum, rule.momentum_dtype) == (4, 0.8, torch.bfloat16)
    assert len(rule.compensated) == 16 and (rule.compensated.diff() > 0).all()
    assert {0, 1, 2} < set(rule.compensated.tolist())  # the most frequent labels of the planted data
    assert elmo(corpus, **SMALL).optimizers["head"].rules[0].momentum == 0


def test_the_initial_deviation_is_xaviers():
    values = {**SMALL, "head_init_std": None}
    head = elmo(planted(), **values).head
    expected = (2 / (head.n_labels + head.dim)) ** 0.5
    assert float(head.table().float().std()) == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("bad", "where"),
    [
        ({"weights": "float8", "head_optimizer": "adamw"}, "weights"),
        ({"weights": "int8"}, "weights"),
        ({"momentum_dtype": "float16"}, "momentum_dtype"),
        ({"compensated_fraction": 0.2}, "compensated_fraction"),
        ({"momentum_dtype": "bfloat16", "head_optimizer": "adamw"}, "momentum_dtype"),
        ({"compensated_fraction": 1.2, "weights": "float8"}, "compensated_fraction"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused(bad, where, nothing_long):
    with pytest.raises(SettingError) as refused:
        renee(planted(), **{"encoder": "bag", "epochs": 1, "batch_size": 64, "warmup": 0.1, **bad})
    assert refused.value.where == where


def test_damaged_weights_are_refused(tmp_path):
    corpus = planted()
    model = megalabel.train(elmo(corpus, **{**SMALL, "epochs": 1}), tmp_path / "run", quiet=True)
    with torch.no_grad():
        model.head.weight.view(torch.uint8)[3, 4] = 0x7F
    model.save(tmp_path / "nan")
    with pytest.raises(FormatError, match="weight"):
        megalabel.load(tmp_path / "nan")
    with torch.no_grad():
        model.head.weight.view(torch.uint8)[3, 4] = 0
        model.head.weight_exponents[2] = 127
    model.save(tmp_path / "large")
    with pytest.raises(MegalabelError, match="scales"):
        megalabel.load(tmp_path / "large")


def test_the_command_line_trains_narrow_weights(command, tmp_path):
    data = tmp_path / "data"
    convert(planted(), data, "raw")
    options = (
        "--encoder bag --tokenizer words --max-length 16 --epochs 1 --batch-size 64 --warmup 0.1 --bias".split()
    )
    status, _, err = command(
        "train",
        "renee",
        data,
        "-o",
        tmp_path / "r",
        *options,
        "--weights",
        "float8",
        "--momentum-dtype",
        "bfloat16",
    )
    assert status == 0, err
    assert command("evaluate", tmp_path / "r", data)[0] == 0
    status, _, err = command("train", "renee", data, "-o", tmp_path / "s", *options, "--weights", "float4")
    assert status == 2 and "float8" in err
