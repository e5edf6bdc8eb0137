"""The sparse head while it learns: which connections it drops, what takes their place, and what stays."""

from __future__ import annotations

import pytest
import torch
from heads.battery import N_LABELS, planted_views, train
from heads.sparse_cases import make

from megalabel.errors import SettingError
from megalabel.heads.rewiring import Rewiring
from megalabel.heads.sparse import SparseHead
from megalabel.kernels.updates.rule import ONLY_PART
from megalabel.training.optim.fused import FusedAdam, FusedSGD
from megalabel.training.optim.groups import Optimizers

EVERY = {"every": 3, "until": 30, "prune": "fraction", "prune_fraction": 0.3}


def rewired(steps: int = 12, optimizer: type = FusedAdam, threads: int = 1, **settings: object) -> SparseHead:
    """A head trained for some steps, its connections changed every third."""
    head = make(rewiring=Rewiring(**{**EVERY, **settings}))
    views, positives = planted_views(head)
    fused = optimizer(head, lr=0.05)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for step in range(steps):
            fused.begin(ONLY_PART)
            head.loss(views.requires_grad_(), positives).backward()
            fused.step()
            head.after_step(step, fused)
    finally:
        torch.set_num_threads(before)
    return head


@pytest.mark.parametrize("optimizer", [FusedSGD, FusedAdam])
@pytest.mark.parametrize("regrow", ["random", "gradient"])
def test_rewiring_keeps_the_number_of_connections_and_the_strong_ones(optimizer, regrow):
    head = make(rewiring=Rewiring(**{**EVERY, "regrow": regrow}))
    views, positives = planted_views(head)
    fused = optimizer(head, lr=0.05)
    for step in range(9):
        fused.begin(ONLY_PART)
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
        if regrow == "random":  # the largest gradient may be that of a connection just dropped
            assert not kept[weak].any()
        assert all(len(set(row)) == 8 for row in head.inputs.tolist())
        for moments in fused.rules[0].weight_state():
            assert not moments[weak].any()
            assert moments[~weak].any()


def test_moments_can_be_kept_as_published():
    head = make(rewiring=Rewiring(**EVERY, keep_optimizer_state=True))
    views, positives = planted_views(head)
    fused = FusedAdam(head, lr=0.05)
    for step in range(3):
        fused.begin(ONLY_PART)
        head.loss(views.requires_grad_(), positives).backward()
        before = fused.rules[0].mean.clone()
        head.after_step(step, fused)
    assert int(head.exchanged[0]) > 0
    assert torch.equal(fused.rules[0].mean, before)


def test_moments_of_a_torch_optimizer_begin_anew_too():
    head = make(rewiring=Rewiring(**{**EVERY, "every": 5}))
    views, positives = planted_views(head)
    adam = torch.optim.Adam(head.parameters())
    for step in range(5):
        adam.zero_grad()
        head.loss(views, positives).backward()
        adam.step()
        before = head.inputs.clone()
        head.after_step(step, Optimizers(adam=adam))
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
    rewiring = Rewiring(10, 100, prune_threshold=0.05)
    thresholds = [rewiring.threshold_at(step) for step in range(120)]
    assert thresholds == sorted(thresholds, reverse=True)
    assert thresholds[0] == pytest.approx(0.05, rel=1e-3)
    assert thresholds[49] == pytest.approx((0.05 + 1e-4) / 2, rel=1e-6)
    assert thresholds[99] == thresholds[119] == pytest.approx(1e-4)
    assert Rewiring(10, 100, prune_threshold=0.05, anneal=False).threshold_at(99) == 0.05
    assert [step for step in range(25) if Rewiring(5, 20).due(step)] == [4, 9, 14, 19]


def test_logged_tell_of_the_connections():
    assert make().metrics() == {}
    logged = rewired().metrics()
    assert 25 < logged["rewired %"] <= 30
    assert logged["rewired in all %"] == pytest.approx(4 * logged["rewired %"], rel=0.05)
    assert 0 < logged["age"] < 12
    assert logged["unused inputs"] == 0
    assert 1 < logged["busiest input"] < 2


@pytest.mark.parametrize("regrow", ["random", "gradient"])
def test_resuming_from_a_state_ends_the_same(regrow):
    settings = {**EVERY, "regrow": regrow}
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
            fused.begin(ONLY_PART)
            half.loss(views.requires_grad_(), positives).backward()
            half.after_step(step, fused)
        states = [
            {k: v.clone() for k, v in half.state_dict().items()},
            fused.state_dict(),
        ]
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, half.state_dict()[name]), name
    assert whole.metrics() == half.metrics()


def test_the_least_fraction_of_a_group_that_is_taken_drops_something():
    head = make(rewiring=Rewiring(1, 1, prune="fraction", prune_fraction=0.25, prune_scope="group"))
    head.after_step(0, None)
    assert int(head.exchanged[0]) == N_LABELS


@pytest.mark.parametrize(
    ("bad", "match"),
    [
        ({"every": 0}, "every = 0"),
        ({"until": -1}, "until"),
        ({"prune": "worst"}, "threshold or fraction"),
        ({"prune_threshold": 0.0}, "prune_threshold = 0"),
        ({"prune_fraction": 1.0}, "prune_fraction = 1"),
        ({"prune_fraction": 0.0}, "prune_fraction = 0"),
        ({"prune_scope": "label"}, "layer or group"),
        ({"regrow": "rigl"}, "random or gradient"),
        ({"regrow_init": "one"}, "zero or uniform"),
        ({"regrow_candidates": -1}, "regrow_candidates"),
    ],
    ids=str,
)
def test_rewiring_that_cannot_be(bad, match):
    with pytest.raises(SettingError, match=match):
        Rewiring(**{"every": 5, "until": 20, **bad})


def test_a_threshold_that_drops_everything_stops_the_training():
    head = make(init_scale=0.01, rewiring=Rewiring(1, 5, prune_threshold=0.1))
    views, positives = planted_views(head)
    with pytest.raises(SettingError, match="prune all"):
        train(head, views, positives, steps=1, lr=1e-6)
