"""Moments of the encoder in 8 bits: what is kept, saved and resumed, and what is refused."""

import copy
import sys

import pytest
import torch
from planted import planted
from torch import nn

from megalabel.errors import MissingExtra, SettingError
from megalabel.recipes import get
from megalabel.storage.tensors import load_tensors, save_tensors
from megalabel.training import checkpoint, compiling
from megalabel.training.optim import adamw_8bit as module
from megalabel.training.optim.groups import Optimizers, adamw


@pytest.fixture
def eager():
    """Runs the step as it is written: compiling takes half a minute on one core."""
    pytest.importorskip("torchao", reason="the optional package torchao is not installed")
    with torch.compiler.set_stance("force_eager"):
        yield


def encoder():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(64, 128), nn.LayerNorm(128), nn.Linear(128, 64))


def trained(model, optimizers, steps):
    for step in steps:
        torch.manual_seed(step)
        optimizers.scale_rates(1 / (1 + step))
        model(torch.randn(8, 64)).square().sum().backward()
        optimizers.step(torch.amp.GradScaler("cpu", enabled=False))


def optimizers_of(model, kind="adamw8bit"):
    return Optimizers(encoder=adamw(model, 1e-3, 0.01, kind=kind))


@pytest.mark.usefixtures("eager")
def test_moments_take_a_byte_each_and_the_weights_follow_those_of_float32():
    models = encoder(), encoder()
    narrow, plain = optimizers_of(models[0]), optimizers_of(models[1], "adamw")
    before = [p.detach().clone() for p in models[0].parameters()]
    for model, optimizers in zip(models, (narrow, plain), strict=True):
        trained(model, optimizers, range(20))
    moved = [(p - b).abs().mean() for p, b in zip(models[1].parameters(), before, strict=True)]
    for ours, theirs, far in zip(*(m.parameters() for m in models), moved, strict=True):
        assert 0 < (ours - theirs).abs().mean() < 0.1 * far or ours.ndim == 1
    matrix = narrow.state_of(models[0][0].weight)
    assert sum(t.nbytes for t in module._to_tensors(matrix)["exp_avg"].values()) == 64 * 128 * (1 + 4 / 256)
    vector = narrow.state_of(models[0][1].weight)
    assert vector["exp_avg"].dtype == torch.float32
    plain_bytes, bytes_ = (sum(t.nbytes for t in o.tensors()) for o in (plain, narrow))
    assert bytes_ < 0.3 * plain_bytes
    assert [type(g["lr"]) for g in narrow["encoder"].param_groups] == [float, float]


@pytest.mark.usefixtures("eager")
def test_a_checkpoint_resumes_with_equal_bits(tmp_path):
    whole, first = encoder(), encoder()
    trained(whole, optimizers_of(whole), range(6))
    stopped = optimizers_of(first)
    trained(first, stopped, range(3))
    tensors = {}
    facts = checkpoint._without_tensors(stopped["encoder"].state_dict(), "", tensors)
    assert {t.dtype for t in tensors.values()} == {torch.uint8, torch.float32}
    save_tensors(tmp_path / "state.safetensors", tensors)
    resumed = copy.deepcopy(first)
    optimizers = optimizers_of(resumed)
    tensors = load_tensors(tmp_path / "state.safetensors", next_step=None)
    optimizers["encoder"].load_state_dict(checkpoint._together(facts, tensors))
    trained(resumed, optimizers, range(3, 6))
    for ours, theirs in zip(resumed.parameters(), whole.parameters(), strict=True):
        assert torch.equal(ours, theirs)


@pytest.mark.usefixtures("eager")
@pytest.mark.parametrize("recipe", ["renee", "spartex", "lightxml"])
def test_every_part_beside_the_encoder_follows(recipe, tiny_bert):
    more = {
        "spartex": {"fan_in": 8, "prune": "none", "projection_dim": 32, "auxiliary_epochs": 1},
        "lightxml": {"clusters": (8,), "last_layers": 2},
    }
    values = dict(encoder=str(tiny_bert), max_length=16, epochs=4, warmup=0.1, encoder_optimizer="adamw8bit")
    optimizers = get(recipe)(planted(), **values, **more.get(recipe, {})).optimizers
    found = {name for name, optimizer in optimizers.named.items() if module.is_8bit(optimizer)}
    assert found == {"encoder"} | {"intermediate", "auxiliary", "bottleneck"} & set(optimizers.named)


@pytest.mark.usefixtures("eager")
def test_a_compiler_that_is_missing_is_said_before_the_first_step(tiny_bert, monkeypatch):
    recipe = get("renee")(
        planted(), encoder=str(tiny_bert), max_length=16, warmup=0.1, encoder_optimizer="adamw8bit"
    )
    monkeypatch.setattr(compiling.shutil, "which", lambda name: None)
    with pytest.raises(SettingError) as found:
        compiling.check_compiled_optimizers(recipe, torch.device("cpu"))
    assert found.value.where == "encoder_optimizer"


def test_without_torchao_its_extra_is_named(monkeypatch):
    module._class.cache_clear()
    monkeypatch.setitem(sys.modules, "torchao", None)
    monkeypatch.setitem(sys.modules, "torchao.optim", None)
    with pytest.raises(MissingExtra, match=r"megalabel\[adamw8bit\]") as found:
        adamw(encoder(), 1e-3, kind="adamw8bit")
    assert found.value.where == "encoder_optimizer"


@pytest.mark.parametrize(
    ("recipe", "values"),
    [("renee", {"encoder": "bag"}), ("cascadexml", {"encoder": "small", "schedule": "three-phase"})],
)
def test_what_cannot_have_moments_in_8_bits_is_refused(recipe, values):
    with pytest.raises(SettingError) as found:
        get(recipe).options(**values, encoder_optimizer="adamw8bit")
    assert found.value.where == "encoder_optimizer"
