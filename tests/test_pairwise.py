"""The covering set of parameters holds every pair of values, is small, and is always the same."""

from __future__ import annotations

from itertools import combinations, product

import pytest
from support.pairwise import all_pairs

FACTORS = {
    "one factor": [[1, 2, 3]],
    "two factors": [[1, 2, 3], "ab"],
    "a long one": [list(range(16)), [True, False], ["x", "y"], [0.1, 0.2], [1, 2]],
    "equal ones": [[0, 1, 2]] * 4,
    "a single value": [["only"], [1, 2], [3, 4]],
}


@pytest.mark.parametrize("name", FACTORS)
def test_any_two_values_occur_together(name) -> None:
    factors = [list(values) for values in FACTORS[name]]
    cases = all_pairs(factors)
    assert set(cases) <= set(product(*factors)) and len(set(cases)) == len(cases)
    for i, j in combinations(range(len(factors)), 2):
        assert {(case[i], case[j]) for case in cases} == set(product(factors[i], factors[j]))
    assert {value for (value, *_) in cases} == set(factors[0])
    assert all_pairs(factors) == cases


def test_the_first_case_has_the_first_values_and_there_are_few() -> None:
    cases = all_pairs([list(values) for values in FACTORS["a long one"]])
    assert cases[0] == (0, True, "x", 0.1, 1)
    assert len(cases) <= 34  # of 256; 16 × 2 at least


@pytest.fixture(params=[1, 2, 3])
def doubled(request: pytest.FixtureRequest) -> int:
    return 2 * request.param


@pytest.mark.pairwise("doubled", doubled=[5, 7], other=["a", "b"])
def test_a_fixture_may_be_a_factor(doubled, other) -> None:
    assert doubled in (10, 14) and other in ("a", "b")
