"""Further parts, broken heads, parameters without an optimizer, and the record of validations."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from support.small_recipes import Contrastive, made, with_head
from torch import nn

import megalabel
from megalabel.errors import DataError, MegalabelError, SettingError
from megalabel.training.optim.groups import Optimizers, adamw
from megalabel.types import TopK


def test_further_parts_are_checkpointed_and_not_saved(tmp_path):
    teacher = nn.Linear(3, 3).requires_grad_(False)

    class Stop(Exception):
        pass

    def stop(line):
        if line["step"] == 5:
            raise Stop

    with pytest.raises(Stop):
        recipe = made(parts={"teacher": teacher})
        megalabel.train(recipe, tmp_path / "r", quiet=True, checkpoint_steps=2, callback=stop)
    assert [p.name for p in (tmp_path / "r" / "last").glob("*/teacher.safetensors")]
    other = nn.Linear(3, 3).requires_grad_(False)
    megalabel.train(made(parts={"teacher": other}), tmp_path / "r", quiet=True)
    assert torch.equal(other.weight, teacher.weight)
    assert not (tmp_path / "r" / "model" / "teacher.safetensors").exists()


def broken(**methods):
    return type("Broken", (Contrastive,), methods)(64, 256)


@pytest.mark.parametrize(
    "head",
    [
        broken(config=lambda self: {"n_labels": self.n_labels, "dim": self.dim, "weight": self.weight}),
        broken(config=lambda self: {"n_labels": self.n_labels - 1, "dim": self.dim}),
        broken(config=lambda self: {"size": self.n_labels}),
        broken(topk=lambda self, views, k, **_: TopK(*(torch.zeros(len(views), 3),) * 2)),
        broken(loss=lambda self, views, positives: views.sum(1)),
        broken(loss=lambda self, views, positives: views.sum() * float("nan")),
    ],
    ids=["config is no JSON", "config of another shape", "config is refused", "topk", "loss is no scalar", "NaN"],
)
def test_a_broken_head_is_refused_at_once(head, tmp_path):
    lines = []
    with pytest.raises(MegalabelError) as raised:
        megalabel.train(with_head(head), tmp_path / "r", quiet=True, callback=lines.append)
    assert isinstance(raised.value, (SettingError, DataError))
    assert lines == []


@pytest.mark.parametrize("twice", [False, True])
def test_a_parameter_must_be_in_exactly_one_optimizer(twice, tmp_path):
    recipe = made()
    named = {**recipe.optimizers.named}
    if twice:
        named["again"] = adamw(recipe.head, 0.1)
    else:
        del named["head"]
    with pytest.raises(SettingError):
        megalabel.train(replace(recipe, optimizers=Optimizers(**named)), tmp_path / "r", quiet=True)


def test_the_best_validation_is_recorded_and_the_callback_sees_the_log(tmp_path):
    lines = []
    megalabel.train(made(), tmp_path / "r", quiet=True, callback=lines.append)
    assert lines == [json.loads(line) for line in (tmp_path / "r" / "log.jsonl").read_text().splitlines()]
    best = json.loads((tmp_path / "r" / "recipe.json").read_text())["best_validation"]
    reached = {line["step"] + 1: line["validation"]["nDCG@5"] for line in lines if "validation" in line}
    assert best["metric"] == "nDCG@5"
    assert best["value"] == max(reached.values()) == reached[best["step"]]


def test_a_run_with_other_held_out_texts_is_not_taken_up(tmp_path):
    megalabel.train(made(), tmp_path / "r", quiet=True)
    other = np.sort(np.random.default_rng(5).permutation(400)[:40])
    with pytest.raises(SettingError):
        megalabel.train(made(validation=other), tmp_path / "r", quiet=True)
