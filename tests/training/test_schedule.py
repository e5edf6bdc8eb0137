"""Schedules of learning rates: the three phases of CascadeXML, and warm-ups with what follows them."""

from itertools import pairwise

import pytest
import torch
from torch import nn

from megalabel.errors import SettingError
from megalabel.training.optim.groups import Optimizers
from megalabel.training.optim.lazy_adam import LazyAdam
from megalabel.training.optim.schedule import ThreePhase, WarmupConstant, WarmupCosine


def test_up_level_down_with_beta_against_the_rate():
    schedule = ThreePhase(steps=150, per_epoch=10, warmup=2, final=3)
    factors = [schedule(step) for step in range(150)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10] == pytest.approx(0.55)  # half-way up
    assert factors[20:121] == [1.0] * 101
    assert all(a < b for a, b in pairwise(factors[:21]))
    assert all(a > b for a, b in pairwise(factors[120:]))
    assert factors[135] == pytest.approx(0.5005)
    assert schedule(150) == pytest.approx(0.001)
    assert [schedule.beta1(step) for step in (0, 10, 20, 100, 135, 150)] == pytest.approx(
        [0.95, 0.90, 0.85, 0.85, 0.90, 0.95]
    )


def test_no_rise():
    assert ThreePhase(steps=40, per_epoch=10, warmup=0, final=3)(0) == 1.0


@pytest.mark.parametrize("bad", [{"warmup": 2}, {"final": 4}, {"warmup": -1}])
def test_phases_longer_than_the_run_are_refused(bad):
    with pytest.raises(SettingError, match="decline"):
        ThreePhase(**({"steps": 40, "per_epoch": 10, "warmup": 1, "final": 3} | bad))


def test_every_adam_follows_and_a_schedule_without_beta_leaves_it():
    a, b = nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(2))
    optimizers = Optimizers(one=torch.optim.AdamW([a], lr=1.0), two=LazyAdam([b], lr=2.0))
    optimizers.follow(ThreePhase(steps=60, per_epoch=10, warmup=1, final=3), 20)
    assert [g["lr"] for o in optimizers.named.values() for g in o.param_groups] == [1.0, 2.0]
    assert optimizers["one"].param_groups[0]["betas"] == optimizers["two"].betas == (0.85, 0.999)
    optimizers.follow(WarmupCosine(steps=60, warmup=0), 59)
    assert optimizers["two"].betas == (0.85, 0.999)
    assert optimizers["two"].param_groups[0]["lr"] < 0.01


def test_a_constant_rate_after_the_warm_up():
    for schedule in (WarmupConstant(40, 3), WarmupConstant(40, 0.1 - 1e-9)):
        assert schedule.warmup_steps == 3
        assert [schedule(step) for step in range(5)] == [0.25, 0.5, 0.75, 1, 1]
        assert schedule(10**6) == 1
        assert schedule.beta1(0) is None
    assert WarmupConstant(40, 0)(0) == 1
    assert WarmupConstant(40, 3) == WarmupConstant(40, 3) != WarmupCosine(40, 3)


def test_half_a_cosine_after_the_warm_up():
    schedule = WarmupCosine(40, 0.25)
    assert [schedule(step) for step in (0, 9, 10, 25)] == pytest.approx([1 / 11, 10 / 11, 1, 0.5])
    assert 0 < schedule(39) < 0.01


@pytest.mark.parametrize("kind", [WarmupConstant, WarmupCosine])
def test_a_warm_up_as_long_as_the_run_is_refused(kind):
    for warmup in (40, 5000, -1):
        with pytest.raises(SettingError) as caught:
            kind(40, warmup)
        assert caught.value.where == "warmup"
