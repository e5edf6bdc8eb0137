"""Settings of the published systems that are options: last layers, intervals of validation, float16 by itself."""

from __future__ import annotations

import json

import pytest
import torch
from bag_runs import KNOBS
from planted import planted

import megalabel
from megalabel.errors import SettingError
from megalabel.heads.dense import DenseHead
from megalabel.heads.sparse import SparseHead
from megalabel.recipes import get
from megalabel.recipes.spartex import spartex
from megalabel.training.log import peaks
from megalabel.training.loop import resolve_precision, scaler_for

TINY = {"max_length": 16, "epochs": 20, "batch_size": 32, "fan_in": 8, "prune": "none", "auxiliary": False}


@pytest.mark.parametrize("pooling", ["first", "mean"])
def test_spartex_reads_the_last_layers_side_by_side(pooling, tiny_bert):
    one, two = (
        spartex(planted(), encoder=str(tiny_bert), warmup=0.1, pooling=pooling, last_layers=n, **TINY).encoder
        for n in (1, 2)
    )
    assert (one.dim, two.dim) == (32, 64)
    tokens = torch.randint(4, 100, (3, 12))
    torch.testing.assert_close(two.eval()(tokens, tokens > 0)[..., :32], one.eval()(tokens, tokens > 0))
    hidden = two.model(tokens, output_hidden_states=True).hidden_states[1]
    vector = hidden[:, 0] if pooling == "first" else hidden.mean(1)
    torch.testing.assert_close(two(tokens, tokens > 0)[:, 0, 32:], vector)
    with pytest.raises(SettingError, match="last_layers"):
        spartex(planted(), encoder=str(tiny_bert), warmup=0.1, last_layers=3, **TINY)


def test_cascadexml_can_move_every_row_in_every_step(tmp_path):
    values = {**KNOBS["cascadexml"], "epochs": 10}
    made = get("cascadexml")(planted(), **values, dense_updates=True)
    assert isinstance(made.optimizers["head"], torch.optim.AdamW)
    model = megalabel.train(made, tmp_path / "r", quiet=True)
    assert megalabel.evaluate(model, planted())["P@1"] > 80
    with pytest.raises(SettingError, match="adamw"):
        get("cascadexml").options(dense_updates=True, head_optimizer="sgd")


@pytest.mark.parametrize("loss", ["squared_hinge", "bce"])
def test_the_dense_baseline_of_spartex_is_a_fraction_of_all_labels(loss, tmp_path):
    values = {**KNOBS["spartex"], "epochs": 10, "auxiliary_epochs": 2, "dense_fraction": 1.0, "loss": loss}
    model = megalabel.train(spartex(planted(), **values), tmp_path / "r", quiet=True)
    assert any(isinstance(part, DenseHead) for part in model.head.modules())
    assert not any(isinstance(part, SparseHead) for part in model.head.modules())
    assert megalabel.evaluate(model, planted())["P@1"] > 80


def test_the_log_has_the_memory_of_a_gpu(monkeypatch):
    assert set(peaks(torch.device("cpu"))) == {"peak_mb"}
    device = torch.device("cuda", 1)
    monkeypatch.setattr(torch.cuda, "max_memory_allocated", lambda of: {device: 3 * 10**9}[of])
    monkeypatch.setattr(torch.cuda, "max_memory_reserved", lambda of: {device: 4 * 10**9}[of])
    found = peaks(device)
    assert (found["peak_device_mb"], found["peak_device_reserved_mb"]) == (3000, 4000)


def test_the_interval_of_validation_is_an_option(tmp_path):
    values = {**KNOBS["renee"], "epochs": 4}
    for interval, expected in ((1.0, 4), (2.0, 2), (0.5, 8)):
        out = tmp_path / str(interval)
        megalabel.train(get("renee")(planted(), **values, validate_epochs=interval), out, quiet=True)
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        assert sum("validation" in line for line in lines) == expected


def test_training_stops_early_where_validations_do_not_improve(tmp_path):
    values = {**KNOBS["spartex"], "encoder_lr": 0.0, "head_lr": 0.0, "token_lr": 0.0, "patience": 2}
    megalabel.train(spartex(planted(), **values), tmp_path / "r", quiet=True)
    lines = [json.loads(line) for line in (tmp_path / "r" / "log.jsonl").read_text().splitlines()]
    assert sum("validation" in line for line in lines) == 3  # the first, and two that are no better


@pytest.mark.parametrize(
    ("bfloat16", "capability", "expected"),
    [(True, (9, 0), torch.bfloat16), (False, (7, 5), torch.float16), (False, (6, 1), torch.float32)],
)
def test_a_gpu_without_bfloat16_takes_float16(bfloat16, capability, expected, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bfloat16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)
    cuda = torch.device("cuda")
    assert resolve_precision("auto", cuda) is expected
    if not torch.cuda.is_available():
        monkeypatch.setattr(
            torch.amp.GradScaler, "__init__", lambda self, *_, enabled, **__: setattr(self, "on", enabled)
        )
        assert scaler_for(cuda, "auto").on is (expected is torch.float16)


@pytest.mark.parametrize("more", [{}, {"auxiliary": True, "auxiliary_epochs": 1}], ids=["hinge", "auxiliary"])
def test_parts_of_a_batch_log_the_loss_and_move_as_the_whole(more, tmp_path):
    """The published code divides the mean of each of its micro-batches by their number."""
    values = {**KNOBS["spartex"], "auxiliary": False, "dropout": 0.0, "epochs": 2, "head_optimizer": "sgd", **more}

    def run(parts: int):
        out = tmp_path / str(parts)
        model = megalabel.train(
            spartex(planted(), **values, accumulation_steps=parts, log_every=1, head_momentum=0.0), out, quiet=True
        )
        lines = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        return model.head.weight.detach(), [line["loss"] for line in lines if "loss" in line]

    (whole, logged), (in_parts, logged_in_parts) = run(1), run(4)
    assert len(logged) == len(logged_in_parts) > 10
    assert logged_in_parts == pytest.approx(logged, rel=1e-3)
    torch.testing.assert_close(in_parts, whole, rtol=1e-2, atol=1e-4)
