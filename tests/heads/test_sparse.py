"""The sparse head: the battery of all heads, its loss against the dense layer it stands for, bad input."""

from __future__ import annotations

import math

import pytest
import torch
from heads.battery import CHECKS, DIM, N_LABELS, planted_views, train
from heads.sparse_cases import make
from topk_agree import assert_topk_agree

from megalabel.errors import SettingError
from megalabel.heads.rewiring import Rewiring
from megalabel.heads.sparse import SparseHead
from megalabel.kernels.all_labels import label_loss
from megalabel.kernels.all_labels.streaming_topk import plain as plain_topk
from megalabel.kernels.fan_in.fixed_fan_in import densify
from megalabel.kernels.fan_in.strongest_inputs import strongest_inputs
from megalabel.storage.tensors import fill, save_tensors


def dense(head: SparseHead) -> torch.Tensor:
    return densify(head.weight, head.inputs, DIM, head.group)


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": "bce"},
        {"group": 16, "fan_in": 12},
        {"distinct_inputs": False, "reduction": "sum"},
        {"rewiring": Rewiring(7, 40, prune="fraction", regrow="gradient")},
        {"rewiring": Rewiring(10, 40, prune_threshold=0.005, regrow_init="uniform")},
    ],
    ids=str,
)
@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_battery(check, settings):
    check(lambda: make(**settings))


@pytest.mark.parametrize("loss", label_loss.LOSSES)
@pytest.mark.parametrize("reduction", ["", "mean", "sum"])
@pytest.mark.parametrize("group", [1, 16])
def test_the_loss_is_that_of_the_dense_layer(loss, reduction, group):
    head = make(loss=loss, reduction=reduction, group=group)
    views, positives = planted_views(head)
    z = views[:, 0].double() @ dense(head).double().t() + head.bias.double()
    expected = label_loss.plain(loss, z, positives)
    if (reduction or {"squared_hinge": "mean", "bce": "sum"}[loss]) == "mean":
        expected = expected / z.numel()
        assert head.reduction == "mean"
    torch.testing.assert_close(head.loss(views, positives).double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("group", [1, 16])
def test_topk_is_that_of_the_dense_layer(group):
    head = make(group=group)
    torch.nn.init.normal_(head.bias)
    views, positives = planted_views(head)
    found = head.topk(views, 6, exclude=positives)
    expected = plain_topk(views[:, 0], dense(head).detach(), head.bias.detach(), 6, positives)
    assert_topk_agree(found, expected)


def test_first_weights_and_inputs():
    head = make()
    assert float(head.weight.detach().abs().max()) <= 1 / math.sqrt(8)
    assert float(head.weight.detach().std()) == pytest.approx(1 / math.sqrt(3 * 8), rel=0.1)
    assert not head.bias.any()
    assert head.inputs.dtype == torch.uint8
    assert all(len(set(row)) == 8 for row in head.inputs.tolist())
    assert torch.equal(head.inputs, make().inputs)
    assert not torch.equal(head.inputs, make(seed=4).inputs)
    assert any(len(set(row)) < 8 for row in make(distinct_inputs=False).inputs.tolist())
    assert not make(init_scale=0.0).weight.any()


@pytest.mark.parametrize("loss", label_loss.LOSSES)
def test_the_prior_is_the_best_constant(loss):
    head = make(loss=loss, init_scale=0.0)
    counts = torch.arange(N_LABELS) + 1
    head.init_prior(counts, 100)
    bias = head.bias.detach().double().requires_grad_()
    share = (counts + 0.5) / 101
    if loss == "bce":
        value = torch.nn.functional.softplus(bias) - share * bias
    else:
        value = share * (1 - bias) ** 2 + (1 - share) * (1 + bias) ** 2
    (slope,) = torch.autograd.grad(value.sum(), bias)
    assert float(slope.abs().max()) < 1e-6
    with pytest.raises(SettingError, match="label counts"):
        head.init_prior(counts + 100, 100)


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"fan_in": 0}, "fan_in = 0"),
        ({"fan_in": DIM + 1}, f"fan_in = {DIM + 1}.*1 to {DIM}"),
        ({"group": 3}, "group = 3.*1, 16, 32, 64"),
        ({"loss": "hinge"}, "squared_hinge"),
        ({"reduction": "max"}, "sum or mean"),
        ({"init_scale": -1.0}, "init_scale"),
        ({"init_connections": "labels"}, "init_connections = 'labels'.*random or texts"),
        ({"loss_every": 0}, "loss_every"),
        ({"rewiring": Rewiring(5, 20, prune_threshold=0.4)}, "would be pruned"),
        ({"rewiring": Rewiring(5, 20, prune_threshold=0.25), "group": 16}, "would be pruned"),
        ({"rewiring": Rewiring(5, 20), "fan_in": DIM}, "connected to all"),
        (
            {"rewiring": Rewiring(5, 20, prune="fraction", prune_fraction=0.24, prune_scope="group")},
            "that is none",
        ),
    ],
    ids=str,
)
def test_settings_that_cannot_be(bad, match):
    with pytest.raises(SettingError, match=match):
        make(**bad)


def test_a_file_read_into_a_head_that_has_answered_is_looked_at_again(tmp_path):
    head = make()
    views, _ = planted_views(head)
    head.topk(views, 3)
    state = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    state["inputs"][0, 0] = DIM
    save_tensors(tmp_path / "head", state)
    fill(head, tmp_path / "head", next_step="-")
    with pytest.raises(SettingError, match=f"input {DIM}"):
        head.topk(views, 3)


def test_connections_chosen_by_texts_tell_them_apart():
    chance, chosen = make(fan_in=3, init_scale=0.0), make(fan_in=3, init_scale=0.0, init_connections="texts")
    views, positives = planted_views(chosen)
    for head in (chance, chosen):
        head.refresh(lambda: (views, positives))
    assert torch.equal(chance.inputs, make(fan_in=3).inputs)
    assert torch.equal(chosen.inputs, strongest_inputs(views[:, 0], positives, N_LABELS, 3, seed=3))
    for head in (chance, chosen):
        train(head, views, positives, steps=60)
        head.eval()
    with torch.no_grad():
        assert float(chosen.loss(views, positives)) < 0.9 * float(chance.loss(views, positives))


@pytest.mark.parametrize("found", [torch.full((N_LABELS, 8), 300), torch.full((N_LABELS, 8), DIM).byte()])
def test_a_state_whose_inputs_do_not_fit_is_refused(found):
    head = make()
    with pytest.raises(SettingError, match="input"):
        head.load_state_dict({**head.state_dict(), "inputs": found})
    assert torch.equal(head.inputs, make().inputs)


def test_a_head_made_in_inference_mode_answers():
    expected = make()
    views, _ = planted_views(expected)
    with torch.inference_mode():
        head = make()
        assert torch.equal(head.topk(views, 3).ids, expected.topk(views, 3).ids)
        head.inputs[0, 0] = DIM
        with pytest.raises(SettingError, match=f"input {DIM}"):
            head.topk(views, 3)


def test_repr_says_the_sizes():
    assert f"n_labels={N_LABELS}, dim={DIM}, fan_in=8, group=1" in repr(make())
