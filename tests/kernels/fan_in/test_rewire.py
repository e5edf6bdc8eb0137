"""Which connections go and what new ones begin with: exact at the cut, nothing else touched, fast equals plain."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backends import using

from megalabel.errors import SettingError
from megalabel.kernels.fan_in.restart import restart
from megalabel.kernels.fan_in.rewire import strengths, weak

BODIES = ("plain", "cpu")


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    for dtype in (torch.float32, torch.float64):
        for start in ("zero", "uniform"):
            weight = torch.randn(4, 2, dtype=dtype)
            slots = using("cpu", weak, weight, 1, share=0.5)
            using("cpu", weak, weight, 1, share=0.5, scope="group")
            using("cpu", restart, weight, slots, 1, start=start, seed=0, step=0)


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def normal(seed: int, *shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("body", BODIES)
def test_a_bar_takes_what_lies_strictly_below_it(body) -> None:
    weight = torch.tensor([[0.5, -0.25, 0.0], [-0.125, 0.75, -0.5]])
    assert using(body, weak, weight, 1, below=0.5).tolist() == [[False, True, True], [True, False, False]]
    assert not using(body, weak, weight, 1, below=0).any()
    assert using(body, weak, weight, 1, below=1).all()


@pytest.mark.parametrize("body", BODIES)
def test_a_bar_is_not_rounded_to_the_weights(body) -> None:
    tenth = torch.full((1, 1), 0.1)  # in float32 a little above 0.1
    assert not using(body, weak, tenth, 1, below=0.1).any()
    assert using(body, weak, tenth, 1, below=0.1000001).all()


@pytest.mark.parametrize("body", BODIES)
def test_a_group_s_connection_is_as_strong_as_the_root_of_its_mean_square(body) -> None:
    weight = torch.tensor([[3.0, 0.0], [4.0, 0.0], [2.0, 7.0]])  # the last group is short
    expected = np.array([[12.5**0.5, 0], [2, 7]], dtype=np.float32)
    np.testing.assert_array_equal(strengths(weight.numpy(), 2), expected)
    assert using(body, weak, weight, 2, below=2.0).tolist() == [[False, True], [False, False]]
    assert using(body, weak, weight, 2, below=3.6).tolist() == [[True, True], [True, False]]


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("group", [1, 3])
def test_a_share_of_the_layer_takes_one_less_than_k(body, group) -> None:
    weight = normal(0, 40 * group, 5)
    for share, k in ((0.0, 0), (0.01, 2), (0.29, 58), (0.5, 100), (1.0, 200)):
        slots = using(body, weak, weight, group, share=share)
        strength = strengths(weight.numpy(), group)
        assert slots.shape == (40, 5) and slots.sum() == max(k - 1, 0)
        if k > 1:
            assert strength[slots.numpy()].max() < strength[~slots.numpy()].min()


@pytest.mark.parametrize("body", BODIES)
def test_a_share_counts_as_it_is_written(body) -> None:
    weight = torch.arange(1.0, 101.0).reshape(10, 10)
    assert using(body, weak, weight, 1, share=0.29).sum() == 28  # below the 29th, though 0.29 * 100 < 29


@pytest.mark.parametrize("body", BODIES)
def test_a_share_of_each_group(body) -> None:
    weight = normal(1, 12, 8) * torch.logspace(-3, 3, 12)[:, None]
    slots = using(body, weak, weight, 1, share=0.5, scope="group")
    assert slots.sum(1).tolist() == [3] * 12
    of_layer = using(body, weak, weight, 1, share=0.5)
    assert of_layer[0].all() and not of_layer[-1].any()
    assert not using(body, weak, weight, 1, share=0.1, scope="group").any()  # floor(0.8) is none
    assert using(body, weak, weight, 1, share=1, scope="group").sum(1).tolist() == [7] * 12


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize("scope", ["layer", "group"])
def test_ties_at_the_cut_are_kept(body, scope) -> None:
    weight = torch.tensor([[1.0, -2.0, 2.0, 2.0, -3.0]]).repeat(3, 1)
    slots = using(body, weak, weight, 1, share=0.6, scope=scope)
    assert slots.tolist() == [[True, False, False, False, False]] * 3
    assert not using(body, weak, torch.zeros(4, 4), 1, share=1, scope=scope).any()


@settings(max_examples=60)
@given(
    st.integers(0, 2**31 - 1),
    st.integers(1, 40),
    st.integers(1, 9),
    st.integers(1, 6),
    st.floats(0, 1),
    st.sampled_from(["layer", "group"]),
    st.sampled_from([torch.float32, torch.float64]),
)
def test_fast_equals_plain_on_any_weights(seed, n_labels, fan_in, group, share, scope, dtype) -> None:
    rng = np.random.default_rng(seed)
    exponents = rng.integers(-140, 100, (n_labels, fan_in))  # from denormal numbers to huge ones
    mantissas = rng.integers(-3, 4, (n_labels, fan_in)) + rng.random((n_labels, fan_in)).round(1)
    weight = torch.from_numpy(np.ldexp(mantissas, exponents)).to(dtype)
    plain = using("plain", weak, weight, group, share=share, scope=scope)
    assert torch.equal(plain, using("cpu", weak, weight, group, share=share, scope=scope))
    bar = float(rng.choice(strengths(weight.numpy(), group).ravel()))
    expected = torch.from_numpy(strengths(weight.numpy(), group) < bar)
    for body in BODIES:
        assert torch.equal(expected, using(body, weak, weight, group, below=bar))


@pytest.mark.pairwise(
    group=[1, 2],
    cut=[{"below": 0.1}, {"share": 0.2}, {"share": 0.5, "scope": "group"}, {"share": 0}],
    bad=[float("nan"), float("inf"), -float("inf")],
    body=BODIES,
)
def test_weights_that_are_not_finite_are_an_error(body, bad, cut, group) -> None:
    weight = normal(2, 9, 4)
    weight[8, 2] = bad
    before = weight.clone()
    with pytest.raises(SettingError, match="diverged"):
        using(body, weak, weight, group, **cut)
    assert torch.equal(weight.nan_to_num(), before.nan_to_num())


def test_threads_do_not_matter() -> None:
    weight, results = normal(3, 1000, 16), []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        slots = [using("cpu", weak, weight, 3, share=0.3, scope=scope) for scope in ("layer", "group")]
        new = weight.clone()
        using("cpu", restart, new, slots[0], 3, start="uniform", seed=1, step=2)
        results.append([*slots, new])
    assert all(torch.equal(one, two) for one, two in zip(*results, strict=True))


@pytest.mark.pairwise(group=[1, 4], start=["zero", "uniform"], body=BODIES)
def test_only_new_connections_begin_anew(body, start, group) -> None:
    weight = torch.nn.Parameter(normal(4, 30, 16))
    states = [normal(5, 30, 16), normal(6, 30, 16)]
    slots = normal(7, -(-30 // group), 16) < 0
    fresh = slots.repeat_interleave(group, 0)[:30]
    before, states_before = weight.detach().clone(), [s.clone() for s in states]
    using(body, restart, weight, slots, group, start=start, seed=1, step=2, states=states)
    assert torch.equal(weight[~fresh], before[~fresh])
    for now, then in zip(states, states_before, strict=True):
        assert torch.equal(now[~fresh], then[~fresh]) and not now[fresh].any()
    new = weight.detach()[fresh]
    if start == "zero":
        assert not new.any()
        return
    assert (new.abs() <= 0.25).all() and len(new.unique()) == len(new)  # 1 / sqrt(16)
    assert abs(new.mean()) < 0.05 and abs(new.std() - 0.25 / 3**0.5) < 0.02


def test_both_bodies_begin_alike_and_each_step_differently() -> None:
    slots = normal(8, 10, 7) < 0.5
    seen = []
    for body, seed, step in [("plain", 1, 2), ("cpu", 1, 2), ("plain", 1, 3), ("plain", 2, 2)]:
        weight = torch.zeros(20, 7)
        using(body, restart, weight, slots, 2, start="uniform", seed=seed, step=step)
        seen.append(weight)
    assert torch.equal(seen[0], seen[1])
    fresh = slots.repeat_interleave(2, 0)
    assert (seen[0] != seen[2])[fresh].all() and (seen[0] != seen[3])[fresh].all()


def test_states_are_kept_when_none_are_named() -> None:
    weight, slots = normal(9, 4, 3), torch.ones(4, 3, dtype=torch.bool)
    restart(weight, slots, 1, seed=0, step=0)
    assert not weight.any()


GOOD = {"weight": torch.ones(6, 4), "group": 2, "share": 0.5}


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"share": None}, "one of the two"),
        ({"below": 0.1}, "one of the two"),
        ({"share": 1.5}, "from 0 to 1"),
        ({"share": float("nan")}, "from 0 to 1"),
        ({"share": None, "below": -0.1}, "finite number of 0 or more"),
        ({"share": None, "below": float("inf")}, "finite number of 0 or more"),
        ({"scope": "row"}, "layer"),
        ({"group": 0}, "1 or more"),
        ({"weight": torch.ones(6)}, "at least one label and one connection"),
        ({"weight": torch.ones(0, 4)}, "at least one label and one connection"),
        ({"weight": torch.ones(6, 4, dtype=torch.float16)}, "float32 or float64"),
    ],
)
def test_bad_cuts(change, match) -> None:
    arguments = {**GOOD, **change}
    with pytest.raises(SettingError, match=match):
        weak(arguments.pop("weight"), arguments.pop("group"), **arguments)


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"slots": torch.ones(6, 4, dtype=torch.bool)}, r"expected \(3, 4\)"),
        ({"slots": torch.ones(3, 4)}, "torch.bool"),
        ({"start": "ones"}, "uniform"),
        ({"states": [torch.ones(6, 4), torch.ones(3, 4)]}, "of the weights' shape"),
        ({"step": -1}, "0 or more"),
    ],
)
def test_bad_restarts_change_nothing(change, match) -> None:
    weight = torch.ones(6, 4)
    arguments = {"slots": torch.ones(3, 4, dtype=torch.bool), "seed": 0, "step": 0, **change}
    with pytest.raises(SettingError, match=match):
        restart(weight, arguments.pop("slots"), 2, **arguments)
    assert (weight == 1).all() and all((state == 1).all() for state in change.get("states", []))
