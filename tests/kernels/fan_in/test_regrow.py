"""Where connections come from: F a group whatever happens, kept ones untouched, distinct where there is room."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from support.backends import using

from megalabel.errors import SettingError
from megalabel.kernels.fan_in.connections import TRIES, check_inputs, first_inputs, input_dtype, use
from megalabel.kernels.fan_in.regrow import candidates, regrow, regrow_by

BODIES = ("plain", "cpu")


@pytest.fixture(scope="module", autouse=True)
def compiled() -> None:
    """Compile once, outside any test's time."""
    for dim in (3, 300, 40000):
        inputs = using("cpu", first_inputs, 2, 2, dim, seed=0)
        slots = torch.ones(2, 2, dtype=torch.bool)
        using("cpu", regrow, inputs, slots, dim, seed=0, step=0)
        tried = using("cpu", candidates, inputs, slots, dim, 2, seed=0, step=0)
        using("cpu", regrow_by, inputs, slots, tried, torch.rand(2, 2))


@pytest.fixture(autouse=True)
def threads_as_before() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def some(seed: int, shape: tuple[int, int], share: float) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < share


def all_distinct(inputs: torch.Tensor) -> bool:
    return all(len(set(row)) == len(row) for row in inputs.tolist())


def test_the_smallest_type_that_fits() -> None:
    for dim, dtype in [(1, torch.uint8), (256, torch.uint8), (257, torch.int16), (32768, torch.int16)]:
        assert input_dtype(dim) == dtype and torch.iinfo(dtype).max >= dim - 1
    assert input_dtype(32769) == torch.int32
    with pytest.raises(SettingError, match="1 or more"):
        input_dtype(0)


@pytest.mark.parametrize("body", BODIES)
@pytest.mark.parametrize(("fan_in", "dim"), [(1, 1), (1, 5), (5, 5), (40, 45), (7, 300), (3, 40000)])
def test_first_inputs(body, fan_in, dim) -> None:
    inputs = using(body, first_inputs, 20, fan_in, dim, seed=3)
    assert inputs.shape == (20, fan_in)
    check_inputs(inputs, dim, 20)
    assert all_distinct(inputs)
    for distinct in (True, False):
        one = using(body, first_inputs, 20, fan_in, dim, seed=3, distinct=distinct)
        assert torch.equal(one, using("plain", first_inputs, 20, fan_in, dim, seed=3, distinct=distinct))
        if dim > 1:
            assert not torch.equal(one, using(body, first_inputs, 20, fan_in, dim, seed=4, distinct=distinct))


@pytest.mark.parametrize("distinct", [True, False])
def test_inputs_are_drawn_evenly(distinct) -> None:
    inputs = first_inputs(4000, 8, 20, seed=5, distinct=distinct)
    expected = 4000 * 8 / 20
    counts = torch.bincount(inputs.flatten().long(), minlength=20)
    assert ((counts - expected) ** 2 / expected).sum() < 50  # χ² of 19 degrees: one in ten thousand lies above
    assert all_distinct(inputs) == distinct
    again = inputs.clone()
    regrow(again, torch.ones(4000, 8, dtype=torch.bool), 20, seed=5, step=1, distinct=distinct)
    counts = torch.bincount(again.flatten().long(), minlength=20)
    assert ((counts - expected) ** 2 / expected).sum() < 50
    assert all_distinct(again) == distinct


def test_use_counts_groups_and_not_connections() -> None:
    inputs = torch.tensor([[0, 2, 2], [2, 3, 0]], dtype=torch.uint8)
    assert use(inputs, 5).tolist() == [2, 0, 2, 1, 0] and use(inputs, 5).dtype == torch.int64


@settings(max_examples=60)
@given(
    st.integers(0, 2**31 - 1),
    st.integers(1, 12),
    st.integers(1, 10),
    st.sampled_from([0, 1, 2, 30, 290]),
    st.sampled_from([0.0, 0.2, 0.7, 1.0]),
    st.booleans(),
)
def test_regrowth(seed, n_groups, fan_in, more, share, distinct) -> None:
    dim = fan_in + more
    inputs = first_inputs(n_groups, fan_in, dim, seed=seed, distinct=distinct)
    slots = some(seed, (n_groups, fan_in), share)
    new = inputs.clone()
    using("plain", regrow, new, slots, dim, seed=seed, step=3, distinct=distinct)
    check_inputs(new, dim)
    assert torch.equal(new[~slots], inputs[~slots])
    if distinct:
        assert all_distinct(new)
        if more:
            assert (new != inputs)[slots].all()
    fast = inputs.clone()
    using("cpu", regrow, fast, slots, dim, seed=seed, step=3, distinct=distinct)
    assert torch.equal(new, fast)


@pytest.mark.parametrize("body", BODIES)
def test_where_every_input_is_in_use_a_slot_keeps_its_own(body) -> None:
    inputs = first_inputs(30, 6, 6, seed=0)
    slots = torch.zeros(30, 6, dtype=torch.bool)
    slots[:, 2] = True
    new = inputs.clone()
    using(body, regrow, new, slots, 6, seed=0, step=0)
    assert torch.equal(new, inputs)
    slots[:, 4] = True  # two exchange theirs
    using(body, regrow, new, slots, 6, seed=0, step=0)
    assert torch.equal(new[:, [4, 2]], inputs[:, [2, 4]])


@pytest.mark.parametrize("body", BODIES)
def test_the_last_free_inputs_are_found_and_chosen_evenly(body) -> None:
    dim, n_groups = 200, 400  # 197 kept, one lost: a draw hits one of the 2 others once in 100 times
    assert TRIES < dim // 2
    inputs = torch.arange(198).repeat(n_groups, 1).to(input_dtype(dim))
    slots = torch.zeros(n_groups, 198, dtype=torch.bool)
    slots[:, 7] = True
    using(body, regrow, inputs, slots, dim, seed=1, step=1)
    counts = torch.bincount(inputs[:, 7].long(), minlength=dim)
    assert counts[198] + counts[199] == n_groups and 150 < counts[198] < 250


@pytest.mark.parametrize("body", BODIES)
def test_duplicates_among_kept_connections_stay(body) -> None:
    inputs = torch.tensor([[1, 1, 0, 2], [0, 0, 0, 0]], dtype=torch.uint8)
    slots = torch.tensor([[False, False, True, True], [True, False, True, True]])
    using(body, regrow, inputs, slots, 5, seed=1, step=1)
    assert inputs[0, :2].tolist() == [1, 1] and inputs[1, 1] == 0
    assert len(set(inputs[0].tolist())) == 3 and len(set(inputs[1].tolist())) == 4


def test_one_seed_and_step_give_one_layer_on_any_threads() -> None:
    inputs = first_inputs(500, 8, 300, seed=1)
    slots = some(1, (500, 8), 0.3)
    results = []
    for threads, seed, step in [(1, 1, 7), (2, 1, 7), (1, 1, 8), (1, 2, 7)]:
        torch.set_num_threads(threads)
        new = inputs.clone()
        using("cpu", regrow, new, slots, 300, seed=seed, step=step)
        tried = using("cpu", candidates, inputs, slots, 300, 9, seed=seed, step=step)
        by = inputs.clone()
        using("cpu", regrow_by, by, slots, tried, torch.sin(tried.float()))
        results.append((new, tried, by, using("cpu", first_inputs, 500, 8, 300, seed=seed)))
    assert all(torch.equal(one, two) for one, two in zip(results[0], results[1], strict=True))
    for other in results[2:]:
        assert (results[0][0] != other[0])[slots].float().mean() > 0.9
        assert (results[0][1] != other[1])[slots.any(1)].float().mean() > 0.9
    assert (results[0][0][slots] != results[0][1][:, :8][slots]).float().mean() > 0.9  # another stream


@settings(max_examples=60)
@given(
    st.integers(0, 2**31 - 1),
    st.integers(1, 9),
    st.integers(1, 8),
    st.sampled_from([0, 1, 2, 30, 290]),
    st.floats(0, 1),
    st.sampled_from([0.0, 0.3, 1.0]),
    st.booleans(),
)
def test_regrowth_by_strength(seed, n_groups, fan_in, more, part, share, distinct) -> None:
    dim = fan_in + more
    inputs = first_inputs(n_groups, fan_in, dim, seed=seed, distinct=distinct)
    slots = some(seed, (n_groups, fan_in), share)
    count = 1 + int(part * (dim - 1))
    tried = using("plain", candidates, inputs, slots, dim, count, seed=seed, step=3)
    assert tried.dtype == inputs.dtype
    assert torch.equal(tried, using("cpu", candidates, inputs, slots, dim, count, seed=seed, step=3))
    strength = torch.rand(tried.shape, generator=torch.Generator().manual_seed(seed)).round(decimals=1)
    new, fast = inputs.clone(), inputs.clone()
    using("plain", regrow_by, new, slots, tried, strength)
    using("cpu", regrow_by, fast, slots, tried, strength)
    assert torch.equal(new, fast)
    assert torch.equal(new[~slots], inputs[~slots])
    check_inputs(new, dim)
    assert not distinct or all_distinct(new)
    for group in np.flatnonzero(slots.any(1).numpy()):
        row = tried[group].tolist()
        assert len(set(row)) == count
        kept = set(inputs[group, ~slots[group]].tolist())
        usable = [c for c in row if c not in kept]
        assert len(usable) == min(count, dim - len(kept)) and usable == row[: len(usable)]
        ranked = sorted(range(len(usable)), key=lambda place, g=group: (-strength[g, place].item(), place))
        gained = [usable[place] for place in ranked[: int(slots[group].sum())]]
        assert new[group, slots[group]].tolist()[: len(gained)] == gained


@pytest.mark.parametrize("body", BODIES)
def test_slots_without_a_candidate_keep_what_the_group_had(body) -> None:
    inputs = torch.tensor([[0, 1, 2, 3]], dtype=torch.uint8)
    slots = torch.tensor([[True, False, True, True]])
    new = inputs.clone()
    using(body, regrow_by, new, slots, torch.tensor([[2, 1]], dtype=torch.uint8), torch.tensor([[0.1, 9.0]]))
    assert new.tolist() == [[2, 1, 0, 3]]  # 1 is kept and passed over; 0 is what nobody took


def test_bad_arguments() -> None:
    inputs, slots = first_inputs(3, 4, 10, seed=0), torch.ones(3, 4, dtype=torch.bool)
    before = inputs.clone()
    outside = inputs.clone()
    outside[1, 1] = 10
    calls = [
        ("expected inputs from 0 to 9", lambda: check_inputs(outside, 10)),
        ("expected inputs from 0 to 9", lambda: regrow(outside, slots, 10, seed=0, step=0)),
        ("expected inputs from 0 to 9", lambda: candidates(outside, slots, 10, 2, seed=0, step=0)),
        ("expected inputs from 0 to 299", lambda: check_inputs(torch.full((1, 1), -1, dtype=torch.int16), 300)),
        ("torch.uint8", lambda: check_inputs(inputs.int(), 10)),
        (r"expected \(4, F\)", lambda: check_inputs(inputs, 10, 4)),
        ("torch.int16", lambda: regrow(inputs, slots, 300, seed=0, step=0)),
        ("F at least 1", lambda: use(inputs[:, :0], 10)),
        ("torch.bool", lambda: regrow(inputs, slots.int(), 10, seed=0, step=0)),
        (r"expected \(3, 4\)", lambda: regrow(inputs, slots[:2], 10, seed=0, step=0)),
        ("0 or more", lambda: regrow(inputs, slots, 10, seed=0, step=-1)),
        ("at most 3 distinct", lambda: regrow(inputs % 3, slots, 3, seed=0, step=0)),
        ("at most 3 distinct", lambda: first_inputs(3, 4, 3, seed=0)),
        ("at least one of each", lambda: first_inputs(3, 0, 3, seed=0)),
        ("at least one of each", lambda: first_inputs(0, 3, 3, seed=0)),
        ("from 1 to 10", lambda: candidates(inputs, slots, 10, 11, seed=0, step=0)),
        ("from 1 to 10", lambda: candidates(inputs, slots, 10, 0, seed=0, step=0)),
        (r"expected both \(3, C\)", lambda: regrow_by(inputs, slots, inputs, torch.rand(3, 3))),
        ("torch.uint8", lambda: regrow_by(inputs, slots, inputs.int(), torch.rand(3, 4))),
        ("diverged", lambda: regrow_by(inputs, slots, inputs, torch.full((3, 4), float("nan")))),
    ]
    for match, call in calls:
        with pytest.raises(SettingError, match=match):
            call()
    assert torch.equal(inputs, before)
