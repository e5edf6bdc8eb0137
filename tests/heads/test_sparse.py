"""The sparse head: the battery of all heads, its loss against the dense layer it stands for, and rewiring."""

from __future__ import annotations

import math

import pytest
import torch
from heads.battery import CHECKS, DIM, N_LABELS, planted_views, train

from megalabel.errors import SettingError
from megalabel.heads.rewiring import Rewiring
from megalabel.heads.sparse import SparseHead
from megalabel.kernels import label_loss
from megalabel.kernels.fixed_fan_in import densify
from megalabel.kernels.streaming_topk import plain as plain_topk
from megalabel.tensors import fill, save_tensors
from megalabel.training.fused import FusedAdam, FusedSGD

EVERY = {"every": 3, "until": 30, "prune": "fraction", "fraction": 0.3}


def make(**settings: object) -> SparseHead:
    arguments = {"fan_in": 8, "seed": 3, **settings}
    return SparseHead(N_LABELS, DIM, generator=torch.Generator().manual_seed(1), **arguments)


def dense(head: SparseHead) -> torch.Tensor:
    return densify(head.weight, head.inputs, DIM, head.group)


def rewired(steps: int = 12, optimizer: type = FusedAdam, threads: int = 1, **settings: object) -> SparseHead:
    """A head trained for some steps, its connections changed every third."""
    head = make(rewiring=Rewiring(**{**EVERY, **settings}))
    views, positives = planted_views(head)
    fused = optimizer(head, lr=0.05)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for step in range(steps):
            fused.begin(0, 1)
            head.loss(views.requires_grad_(), positives).backward()
            fused.step()
            head.after_step(step, fused)
    finally:
        torch.set_num_threads(before)
    return head


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"loss": "bce"},
        {"group": 16, "fan_in": 12},
        {"distinct": False, "reduction": "sum"},
        {"rewiring": Rewiring(7, 40, prune="fraction", growth="gradient")},
        {"rewiring": Rewiring(10, 40, threshold=0.005, start="uniform")},
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
        assert head.averaged
    torch.testing.assert_close(head.loss(views, positives).double(), expected, rtol=1e-5, atol=0)


@pytest.mark.parametrize("group", [1, 16])
def test_topk_is_that_of_the_dense_layer(group):
    head = make(group=group)
    torch.nn.init.normal_(head.bias)
    views, positives = planted_views(head)
    found = head.topk(views, 6, exclude=positives)
    expected = plain_topk(views[:, 0], dense(head).detach(), head.bias.detach(), 6, positives)
    assert torch.equal(found.labels, expected.labels)
    torch.testing.assert_close(found.scores, expected.scores)


def test_first_weights_and_inputs():
    head = make()
    assert float(head.weight.detach().abs().max()) <= 1 / math.sqrt(8)
    assert float(head.weight.detach().std()) == pytest.approx(1 / math.sqrt(3 * 8), rel=0.1)
    assert not head.bias.any()
    assert head.inputs.dtype == torch.uint8
    assert all(len(set(row)) == 8 for row in head.inputs.tolist())
    assert torch.equal(head.inputs, make().inputs)
    assert not torch.equal(head.inputs, make(seed=4).inputs)
    assert any(len(set(row)) < 8 for row in make(distinct=False).inputs.tolist())
    assert not make(scale=0.0).weight.any()


@pytest.mark.parametrize("optimizer", [FusedSGD, FusedAdam])
@pytest.mark.parametrize("growth", ["random", "gradient"])
def test_rewiring_keeps_the_number_of_connections_and_the_strong_ones(optimizer, growth):
    head = make(rewiring=Rewiring(**{**EVERY, "growth": growth}))
    views, positives = planted_views(head)
    fused = optimizer(head, lr=0.05)
    for step in range(9):
        fused.begin(0, 1)
        head.loss(views.requires_grad_(), positives).backward()
        before, inputs = head.weight.detach().clone(), head.inputs.clone()
        head.after_step(step, fused)
        kept = head.inputs == inputs
        if (step + 1) % 3:
            assert torch.equal(head.inputs, inputs)
            assert torch.equal(head.weight.detach(), before)
            continue
        k = int(0.3 * before.numel())
        cut = before.abs().flatten().kthvalue(k).values
        weak = before.abs() < cut
        assert 0 < int(weak.sum()) < k
        assert torch.equal(head.weight.detach()[~weak], before[~weak])
        assert kept[~weak].all()
        assert not head.weight.detach()[weak].any()
        if growth == "random":  # the largest gradient may be that of a connection just dropped
            assert not kept[weak].any()
        assert all(len(set(row)) == 8 for row in head.inputs.tolist())
        for moments in fused.rules[0].beside_weight():
            assert not moments[weak].any()
            assert moments[~weak].any()


def test_moments_can_be_kept_as_published():
    head = make(rewiring=Rewiring(**EVERY, keep_moments=True))
    views, positives = planted_views(head)
    fused = FusedAdam(head, lr=0.05)
    for step in range(3):
        fused.begin(0, 1)
        head.loss(views.requires_grad_(), positives).backward()
        before = fused.rules[0].mean.clone()
        head.after_step(step, fused)
    assert int(head.exchanged[0]) > 0
    assert torch.equal(fused.rules[0].mean, before)


def test_moments_of_a_torch_optimiser_begin_anew_too():
    head = make(rewiring=Rewiring(**{**EVERY, "every": 5}))
    views, positives = planted_views(head)
    adam = torch.optim.Adam(head.parameters())
    for step in range(5):
        adam.zero_grad()
        head.loss(views, positives).backward()
        adam.step()
        before = head.inputs.clone()
        head.after_step(step, adam)
    changed = head.inputs != before
    assert changed.any()
    for name in ("exp_avg", "exp_avg_sq"):
        assert not adam.state[head.weight][name][changed].any()


def test_rewiring_is_a_function_of_seed_and_step():
    one, two = rewired(), rewired(threads=2)
    assert torch.equal(one.inputs, two.inputs)
    assert not torch.equal(one.inputs, rewired(seed=9).inputs)
    assert not torch.equal(one.inputs, make().inputs)


def test_connections_stay_after_the_last_rewiring():
    assert torch.equal(rewired(30).inputs, rewired(33).inputs)
    assert not torch.equal(rewired(29).inputs, rewired(30).inputs)


def test_the_threshold_falls_to_its_end():
    rewiring = Rewiring(10, 100, threshold=0.05)
    thresholds = [rewiring.threshold_at(step) for step in range(120)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] == pytest.approx(0.05, rel=1e-3)
    assert thresholds[49] == pytest.approx((0.05 + 1e-4) / 2, rel=1e-6)
    assert thresholds[99] == thresholds[119] == pytest.approx(1e-4)
    assert Rewiring(10, 100, threshold=0.05, anneal=False).threshold_at(99) == 0.05
    assert [step for step in range(25) if Rewiring(5, 20).due(step)] == [4, 9, 14, 19]


def test_facts_tell_of_the_connections():
    assert make().facts() == {}
    facts = rewired().facts()
    assert 25 < facts["rewired %"] <= 30
    assert facts["rewired in all %"] == pytest.approx(4 * facts["rewired %"], rel=0.05)
    assert 0 < facts["age"] < 12
    assert facts["unused inputs"] == 0
    assert 1 < facts["busiest input"] < 2


@pytest.mark.parametrize("growth", ["random", "gradient"])
def test_going_on_from_a_state_ends_the_same(growth):
    settings = {**EVERY, "growth": growth}
    whole = rewired(12, **settings)
    half, fused = make(rewiring=Rewiring(**settings)), None
    views, positives = planted_views(half)
    states = []
    for part in (range(7), range(7, 12)):
        half = make(rewiring=Rewiring(**settings))
        fused = FusedAdam(half, lr=0.05)
        if states:
            half.load_state_dict(states[0])
            fused.load_state_dict(states[1])
        for step in part:
            fused.begin(0, 1)
            half.loss(views.requires_grad_(), positives).backward()
            half.after_step(step, fused)
        states = [
            {k: v.clone() for k, v in half.state_dict().items()},
            fused.state_dict(),
        ]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, half.state_dict()[name]), name
    assert whole.facts() == half.facts()


@pytest.mark.parametrize("loss", label_loss.LOSSES)
def test_the_prior_is_the_best_constant(loss):
    head = make(loss=loss, scale=0.0)
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
        ({"reduction": "max"}, "mean or sum"),
        ({"scale": -1.0}, "scale"),
        ({"loss_every": 0}, "loss_every"),
        ({"rewiring": Rewiring(5, 20, threshold=0.4)}, "all would be dropped"),
        ({"rewiring": Rewiring(5, 20, threshold=0.25), "group": 16}, "all would be dropped"),
        ({"rewiring": Rewiring(5, 20), "fan_in": DIM}, "connected to all"),
        ({"rewiring": Rewiring(5, 20, prune="fraction", fraction=0.24, scope="group")}, "nothing ever would"),
    ],
    ids=str,
)
def test_settings_that_cannot_be(bad, match):
    with pytest.raises(SettingError, match=match):
        make(**bad)


def test_the_least_fraction_of_a_group_that_is_taken_drops_something():
    head = make(rewiring=Rewiring(1, 1, prune="fraction", fraction=0.25, scope="group"))
    head.after_step(0, None)
    assert int(head.exchanged[0]) == N_LABELS


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"every": 0}, "every = 0"),
        ({"until": -1}, "until"),
        ({"prune": "worst"}, "threshold or fraction"),
        ({"threshold": 0.0}, "threshold = 0"),
        ({"fraction": 1.0}, "fraction = 1"),
        ({"fraction": 0.0}, "fraction = 0"),
        ({"scope": "label"}, "layer or group"),
        ({"growth": "rigl"}, "random or gradient"),
        ({"start": "one"}, "zero or uniform"),
        ({"tried": -1}, "tried"),
    ],
    ids=str,
)
def test_rewiring_that_cannot_be(bad, match):
    with pytest.raises(SettingError, match=match):
        Rewiring(**{"every": 5, "until": 20, **bad})


def test_a_threshold_that_drops_everything_stops_the_training():
    head = make(scale=0.01, rewiring=Rewiring(1, 5, threshold=0.1))
    views, positives = planted_views(head)
    with pytest.raises(SettingError, match="drop all"):
        train(head, views, positives, steps=1, lr=1e-6)


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


def test_a_head_made_in_inference_mode_answers():
    expected = make()
    views, _ = planted_views(expected)
    with torch.inference_mode():
        head = make()
        assert torch.equal(head.topk(views, 3).labels, expected.topk(views, 3).labels)
        head.inputs[0, 0] = DIM
        with pytest.raises(SettingError, match=f"input {DIM}"):
            head.topk(views, 3)


def test_repr_says_the_sizes():
    assert f"n_labels={N_LABELS}, dim={DIM}, fan_in=8, group=1" in repr(make())
