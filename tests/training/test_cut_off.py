"""Runs that were cut off: they continue with the same data, and refuse damaged checkpoints."""

import json
from dataclasses import replace

import pytest
import torch
from planted import planted
from support.light_runs import SHORT, cut_off

import megalabel
from megalabel.errors import FormatError, SettingError
from megalabel.recipes.renee import renee
from megalabel.training import checkpoint


@pytest.mark.parametrize("step", [1, 4])  # before the first checkpoint, and after
def test_a_run_that_goes_on_logs_every_step_once_and_leaves_nothing_behind(monkeypatch, data, tmp_path, step):
    out = tmp_path / "r"
    cut_off(monkeypatch, data, out, step, SHORT)
    (out / ".model.new-99999").mkdir()
    megalabel.train(renee(data, **SHORT), out, quiet=True)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == list(range(steps[-1] + 1))
    assert sorted(p.name for p in out.iterdir()) == ["held_out.npy", "log.jsonl", "model", "recipe.json"]


def test_a_run_goes_on_with_the_same_data_only_wherever_it_lies(monkeypatch, data, tmp_path):
    out = tmp_path / "r"
    cut_off(monkeypatch, data, out, 4, SHORT)
    with pytest.raises(SettingError, match="SHA-256"):
        megalabel.train(renee(planted(seed=1), **SHORT), out, quiet=True)
    moved = replace(data, path=tmp_path)
    megalabel.train(renee(moved, **SHORT), out, quiet=True)
    assert json.loads((out / "recipe.json").read_text())["finished"]


def test_a_run_goes_on_with_another_interval_of_the_log_and_the_same_weights(monkeypatch, data, tmp_path):
    whole = megalabel.train(renee(data, **SHORT), tmp_path / "whole", quiet=True)
    out = tmp_path / "r"
    cut_off(monkeypatch, data, out, 4, SHORT)
    resumed = megalabel.train(renee(data, **{**SHORT, "log_every": 5}), out, quiet=True)
    assert torch.equal(resumed.head.weight, whole.head.weight)
    lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == [0, 1, 2, 5, 10]
    again = megalabel.train(renee(data, **{**SHORT, "log_every": 9}), out, quiet=True)
    assert torch.equal(again.head.weight, whole.head.weight)
    with pytest.raises(SettingError) as refused:
        megalabel.train(renee(data, **{**SHORT, "log_every": 9, "epochs": 2}), out, quiet=True)
    assert "epochs" in refused.value.found and "log_every" not in refused.value.found


def test_a_checkpoint_without_its_run_is_not_taken_up(monkeypatch, data, tmp_path):
    out = tmp_path / "r"
    cut_off(monkeypatch, data, out, 4, SHORT)
    (out / "recipe.json").unlink()
    with pytest.raises(SettingError, match="contains other files"):
        megalabel.train(renee(data, **SHORT), out, quiet=True)


def test_a_damaged_checkpoint_is_refused_with_the_way_out(monkeypatch, data, tmp_path):
    out = tmp_path / "r"
    cut_off(monkeypatch, data, out, 4, SHORT)
    state = next((out / "last").glob("step-*")) / "state.json"
    weights = state.with_name("head.safetensors")
    for path, content in ((weights, weights.read_bytes()[:-3]), (state, b'{"format": 1}'), (state, b"{")):
        path.write_bytes(content)
        with pytest.raises(FormatError, match="Delete the folder `last`"):
            megalabel.train(renee(data, **SHORT), out, quiet=True)


def test_a_checkpoint_keeps_the_loss_scale(data, tmp_path):
    """Otherwise a resumed run in float16 would scale, and skip, other steps."""
    recipe = renee(data, **SHORT)
    scaler = torch.amp.GradScaler("cpu", init_scale=8.0, growth_interval=7)
    checkpoint.save(tmp_path / "last", recipe, scaler, {"step": 3})
    resumed = torch.amp.GradScaler("cpu", init_scale=2.0, growth_interval=7)
    assert checkpoint.load(checkpoint.newest(tmp_path / "last"), recipe, resumed)["step"] == 3
    assert resumed.state_dict() == scaler.state_dict() and resumed.get_scale() == 8.0
