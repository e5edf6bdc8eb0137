"""Trainings that diverge: they stop, name the last good checkpoint, and go on at lower rates."""

import json

import pytest
import torch
from support.light_runs import SHORT, cut_off
from support.small_recipes import losses

import megalabel
from megalabel.errors import DataError, SettingError
from megalabel.recipes.cascadexml import cascadexml
from megalabel.recipes.renee import renee
from megalabel.recipes.spartex import spartex
from megalabel.training import checkpoint
from megalabel.training.divergence import Diverged, check_loss, check_weights
from megalabel.training.run import Run

BAG = {**SHORT, "epochs": 2, "validation_fraction": 0.1}
FAST = {  # far from anything that trains; all losses are finite, and with some they never show it
    "adamw": (renee, dict(BAG, head_lr=1e4)),
    "adamw, as far as can be": (renee, dict(BAG, head_lr=1e6)),
    "sgd": (renee, dict(BAG, head_lr=1e4, head_optimizer="sgd")),
    "tokens, whose sum is scaled": (renee, dict(BAG, token_lr=1e6)),
    "dense part": (renee, dict(BAG, encoder_lr=1e6)),
    "cascade": (
        cascadexml,
        dict(
            encoder="bag", tokenizer="words", max_length=16, epochs=2, batch_size=32, clusters=(4,), beams=(4,),
            level_dropout=(0.1, 0.1), schedule="cosine", warmup_epochs=0.5, validation_fraction=0.1, head_lr=1e5,
        ),
    ),
    "fan-in": (
        spartex,
        dict(
            encoder="bag", tokenizer="words", max_length=16, epochs=2, batch_size=32, fan_in=16, prune="none",
            auxiliary=False, validation_fraction=0.1, head_lr=1e6, warmup=0.1,
        ),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", FAST)
def test_a_rate_that_is_far_too_high_stops_the_run(case, data, tmp_path):
    recipe, arguments = FAST[case]
    with pytest.raises(DataError, match=r"--lr-scale 0\.1 .*from the start, since there is no checkpoint"):
        megalabel.train(recipe(data, **arguments), tmp_path / "r", quiet=True)
    assert not (tmp_path / "r" / "model").exists()


def test_the_same_command_at_a_lower_rate_trains_then(data, tmp_path):
    fast = dict(BAG, head_lr=2e4)
    with pytest.raises(DataError):
        megalabel.train(renee(data, **fast), tmp_path / "r", quiet=True)
    megalabel.train(renee(data, **fast), tmp_path / "r", quiet=True, lr_scale=1e-6)
    facts = json.loads((tmp_path / "r" / "recipe.json").read_text())
    assert facts["finished"]
    assert facts["lr_scale"] == [[0, 1e-6]]
    megalabel.train(renee(data, **dict(BAG, head_lr=0.02)), tmp_path / "slow", quiet=True, lr_scale=1.0)
    first = losses(tmp_path / "r")
    assert first[-1] < first[0]


def test_a_run_goes_on_from_the_last_good_checkpoint_at_a_lower_rate(monkeypatch, data, tmp_path):
    out = tmp_path / "r"
    cut_off(monkeypatch, data, out, 4, SHORT)  # a checkpoint after step 3
    with monkeypatch.context() as patch:
        recipe = renee(data, **SHORT)
        usual = type(recipe.schedule).__call__
        patch.setattr(type(recipe.schedule), "__call__", lambda self, step: usual(self, step) * 1e6)
        with pytest.raises(DataError, match=r"from the checkpoint .*step-000000003 with a tenth"):
            megalabel.train(recipe, out, quiet=True)
    assert checkpoint.newest(out / "last").name == "step-000000003"
    shown = []
    megalabel.train(renee(data, **SHORT), out, quiet=True, lr_scale=0.1, callback=shown.append)
    rates = {line["step"]: line["head_lr"] for line in shown if "loss" in line}
    schedule = renee(data, **SHORT).schedule
    assert min(rates) == 3
    for step, rate in rates.items():
        assert rate == pytest.approx(0.02 * 0.1 * schedule(step), rel=1e-5)
    assert json.loads((out / "recipe.json").read_text())["lr_scale"] == [[3, 0.1]]


def test_a_lower_rate_holds_when_the_run_is_cut_off_again(monkeypatch, data, tmp_path):
    whole = megalabel.train(renee(data, **SHORT), tmp_path / "whole", quiet=True, lr_scale=0.5)
    with monkeypatch.context() as patch:
        cut = Run.fit

        def fit(self, seconds, steps, epochs):
            cut(self, seconds, 3, epochs)

        patch.setattr(Run, "fit", fit)
        patch.setattr(Run, "validate", None)
        told = Run.checkpoint

        def stop(self):
            told(self)
            raise KeyboardInterrupt

        patch.setattr(Run, "checkpoint", stop)
        with pytest.raises(KeyboardInterrupt):
            megalabel.train(renee(data, **SHORT), tmp_path / "r", quiet=True, lr_scale=0.5)
    again = megalabel.train(renee(data, **SHORT), tmp_path / "r", quiet=True)  # which does not name it
    assert torch.equal(again.head.weight, whole.head.weight)


@pytest.mark.parametrize("name", ["head_lr", "encoder_lr", "token_lr"])
@pytest.mark.parametrize("rate", [1e300, 1e7])
def test_a_rate_that_float32_cannot_follow_is_refused(name, rate, data):
    with pytest.raises(SettingError, match="a learning rate of"):
        renee(data, **{**SHORT, name: rate})


@pytest.mark.parametrize("scale", [0, -1, 2, float("nan"), float("inf")])
def test_a_scale_that_is_none_is_refused(scale, data, tmp_path):
    with pytest.raises(SettingError, match="above 0 and at most 1"):
        megalabel.train(renee(data, **SHORT), tmp_path / "r", lr_scale=scale)
    assert not (tmp_path / "r").exists()


def test_losses_and_weights_that_grow_without_end():
    check_loss(5, 900.0, 1.0)
    check_loss(5, 1e9, 0.0)  # the first loss is not known: a run of an older version
    for loss in (1001.0, float("inf"), float("nan")):
        with pytest.raises(Diverged, match="at step 5"):
            check_loss(5, loss, 1.0)
    module = torch.nn.Linear(3, 2)
    check_weights(5, {"head": module})
    for value, said in ((2e6, "a weight of the head is 2e"), (-2e6, "is 2e"), (torch.nan, "head.weight has NaN")):
        with torch.no_grad():
            module.weight[1, 2] = value
        with pytest.raises(Diverged, match=said):
            check_weights(5, {"head": module})


def test_a_checkpoint_of_weights_that_are_of_no_use_is_not_written(monkeypatch, data, tmp_path):
    cut_off(monkeypatch, data, tmp_path / "r", 4, SHORT)
    told = Run.checkpoint

    def spoiled(self):
        with torch.no_grad():
            self.recipe.head.weight[0] = torch.inf
        told(self)

    monkeypatch.setattr(Run, "checkpoint", spoiled)
    with pytest.raises(DataError, match="step-000000003"):
        megalabel.train(renee(data, **SHORT), tmp_path / "r", checkpoint_steps=3, quiet=True)
    assert checkpoint.newest(tmp_path / "r" / "last").name == "step-000000003"


def test_the_number_of_threads_is_kept_and_another_is_said(monkeypatch, data, tmp_path, capfd):
    threads = torch.get_num_threads()
    out = tmp_path / "r"
    try:
        torch.set_num_threads(1)
        cut_off(monkeypatch, data, out, 4, SHORT)
        assert json.loads((out / "recipe.json").read_text())["threads"] == [1]
        capfd.readouterr()
        torch.set_num_threads(2)
        megalabel.train(renee(data, **SHORT), out)
        assert "computed with 1 and 2 threads" in capfd.readouterr().err
        assert json.loads((out / "recipe.json").read_text())["threads"] == [1, 2]
        cut_off(monkeypatch, data, tmp_path / "same", 4, SHORT)
        capfd.readouterr()
        megalabel.train(renee(data, **SHORT), tmp_path / "same")
        assert "threads" not in capfd.readouterr().err
    finally:
        torch.set_num_threads(threads)
