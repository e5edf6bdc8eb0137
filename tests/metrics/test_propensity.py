"""The propensity model by hand, its limits, and what it refuses."""

from __future__ import annotations

import math

import numpy as np
import pytest

from megalabel.errors import DataError, SettingError
from megalabel.metrics.propensity import inverse_propensity


def test_by_hand() -> None:
    # a = 1, b = 1: C = 2 (ln 100 - 1), 1/p = 1 + C / (N_l + 1)
    c = 2 * (math.log(100) - 1)
    weights = inverse_propensity(np.array([0, 1, 3, 100]), 100, a=1.0, b=1.0)
    assert weights == pytest.approx([1 + c, 1 + c / 2, 1 + c / 4, 1 + c / 101], rel=1e-14)
    assert weights.dtype == np.float64


def test_defaults_are_the_usual_ones() -> None:
    counts = np.array([0, 5])
    assert np.array_equal(inverse_propensity(counts, 50), inverse_propensity(counts, 50, a=0.55, b=1.5))


def test_rare_labels_are_worth_more() -> None:
    weights = inverse_propensity(np.arange(1000), 1000)
    assert (np.diff(weights) < 0).all() and (weights > 1).all()


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.array([1, 11]), "label 1 has a count of 11"),
        (np.array([-1, 1]), "label 0 has a count of -1"),
        (np.array([1, np.nan]), "label 1 has a count of nan"),
        (np.ones((1, 3)), "shape"),
        (np.array(["3"]), "dtype"),
    ],
)
def test_counts_that_are_refused(counts, message) -> None:
    with pytest.raises(DataError, match=message):
        inverse_propensity(counts, 10)


@pytest.mark.parametrize("n_texts", [2, 0, -5, 10.0, True])
def test_too_few_texts(n_texts) -> None:
    with pytest.raises(SettingError, match="n_texts: "):
        inverse_propensity(np.array([1]), n_texts)


@pytest.mark.parametrize(
    "settings", [{"a": 0}, {"a": math.nan}, {"b": 0}, {"b": -1.5}, {"b": math.inf}, {"a": "x"}]
)
def test_constants_out_of_range(settings) -> None:
    with pytest.raises(SettingError, match=f"{next(iter(settings))}: "):
        inverse_propensity(np.array([1]), 10, **settings)
