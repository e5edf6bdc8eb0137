"""What the operations of fixed fan-in refuse, before anything is read or changed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from support.fan_in_cases import Case, case

from megalabel.errors import DataError, SettingError
from megalabel.kernels.fan_in.fixed_fan_in import fan_in_growth, fan_in_scores, fan_in_topk
from megalabel.kernels.updates.adam_rule import AdamRule
from megalabel.types import Positives

Change = Callable[[Case], Any]


def pairs(texts: list[int], labels: list[int]) -> Change:
    return lambda c: Positives(torch.tensor(texts), torch.tensor(labels))


LAYERS: dict[str, dict[str, Change]] = {
    "x of three dimensions": {"x": lambda c: c.x[None]},
    "x of integers": {"x": lambda c: c.x.long()},
    "x without width": {"x": lambda c: c.x[:, :0]},
    "weights of one dimension": {"weight": lambda c: c.weight[:, 0]},
    "no weights": {"weight": lambda c: c.weight[:0]},
    "narrow weights": {"weight": lambda c: c.weight.half()},
    "a bias too short": {"bias": lambda c: c.bias[1:]},
    "a bias of another type": {"bias": lambda c: c.bias.double()},
    "inputs of another type": {"inputs": lambda c: c.inputs.long()},
    "inputs for too few groups": {"inputs": lambda c: c.inputs[1:]},
    "too few inputs a label": {"inputs": lambda c: c.inputs[:, 1:]},
    "an input beyond the width": {"inputs": lambda c: torch.full_like(c.inputs, 9)},
    "an input beyond the width, after a look": {"inputs": lambda c: c.inputs.fill_(9)},
    "an input beyond a width that was another": {"x": lambda c: c.x[:, :3]},
    "an input below 0": {"x": lambda c: c.x.repeat(1, 40), "inputs": lambda c: c.inputs.short() - 9},
    "a group of 0": {"group": lambda c: 0},
    "inputs of another group": {"group": lambda c: 2},
    "parts on two devices": {"weight": lambda c: c.weight.to("meta")},
}
POSITIVES: dict[str, Change] = {
    "a text too high": pairs([0, 6], [0, 0]),
    "a text below 0": pairs([-1], [0]),
    "a label too high": pairs([0, 1], [37, 3]),
    "a label below 0": pairs([0], [-1]),
    "more labels than texts": pairs([0], [0, 1]),
}


@pytest.mark.parametrize("what", LAYERS)
def test_a_layer_that_does_not_fit(what, seed):
    c = case(seed).of(torch.float32)
    c.inputs[0, 0] = 8
    c.loss("bce", rule=AdamRule(lr=1.0))  # these inputs have been looked at
    for name, change in LAYERS[what].items():
        setattr(c, name, change(c))
    before = None if c.weight.is_meta else c.weight.clone()
    for door in (
        lambda: c.loss("bce", rule=AdamRule(lr=1.0)),
        lambda: fan_in_scores(c.x, c.weight, c.bias, c.inputs, c.group),
        lambda: fan_in_topk(c.x, c.weight, c.bias, c.inputs, 3, group=c.group),
        lambda: fan_in_growth(c.x, c.weight, c.bias, c.inputs, c.positives, c.inputs, group=c.group),
    ):
        with pytest.raises(SettingError):
            door()
    assert before is None or torch.equal(c.weight, before)


@pytest.mark.parametrize("what", POSITIVES)
def test_positives_that_do_not_fit(what, seed):
    c = case(seed).of(torch.float32)
    c.positives = POSITIVES[what](c)
    with pytest.raises(DataError):
        c.loss("bce")
    with pytest.raises(DataError):
        fan_in_growth(c.x, c.weight, c.bias, c.inputs, c.positives, c.inputs)


def test_options_that_do_not_fit(seed):
    c = case(seed).of(torch.float32)
    with pytest.raises(SettingError, match="squared_hinge"):
        c.loss("hinge")
    for scale in (float("nan"), float("inf")):
        with pytest.raises(SettingError, match="scale"):
            c.loss("bce", scale=scale)
    with pytest.raises(SettingError, match="k=0"):
        fan_in_topk(c.x, c.weight, c.bias, c.inputs, 0)
    with pytest.raises(DataError):
        fan_in_topk(c.x, c.weight, c.bias, c.inputs, 3, Positives(torch.tensor([6]), torch.tensor([0])))


@pytest.mark.parametrize(
    "candidates", [torch.zeros(37, 2), torch.zeros(36, 2).byte(), torch.full((37, 2), 9).byte()]
)
def test_candidates_that_do_not_fit(candidates, seed):
    c = case(seed).of(torch.float32)
    with pytest.raises(SettingError):
        fan_in_growth(c.x, c.weight, c.bias, c.inputs, c.positives, candidates)


@pytest.mark.pairwise(dtype=[torch.float32, torch.float64], loss=["bce", "squared_hinge"], group=[1, 16])
def test_training_that_has_diverged(dtype, loss, group, seed):
    c = case(seed, n_labels=40, group=group).of(dtype)
    x = c.x
    c.x = (x.detach() * torch.nan).requires_grad_()
    with pytest.raises(SettingError, match="embeddings"):
        c.loss(loss)
    c.x = x
    with torch.no_grad():
        c.weight[5, 0] = torch.nan
    with pytest.raises(SettingError, match="the loss"):
        c.loss(loss)
    with pytest.raises(SettingError, match="gradient"):
        c.loss(loss, value=False).backward()
    with pytest.raises(SettingError, match="NaN"):
        fan_in_topk(c.x, c.weight, c.bias, c.inputs, 40, group=group)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_weights_are_kept_from_a_loss_that_was_multiplied_by_nan(dtype, seed):
    c = case(seed).of(dtype)
    before = c.weight.detach().clone()
    with pytest.raises(SettingError, match="gradient of the loss"):
        (c.loss("bce", rule=AdamRule(lr=1.0)) * torch.nan).backward()
    assert torch.equal(c.weight, before)
