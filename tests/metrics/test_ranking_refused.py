"""`measure` refuses depths, choices, predictions, truth and propensities that cannot be right."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from metrics.test_ranking import LABELS, TRUTH, WEIGHTS, falling

from megalabel.errors import DataError, SettingError
from megalabel.metrics.ranking import measure
from megalabel.types import TopK


@pytest.mark.parametrize("k", [0, -1, 4, (1, 4), (), True, 1.0, "1", None])
def test_k_out_of_range(k) -> None:
    with pytest.raises(SettingError, match="from 1 to 3"):
        measure(falling(LABELS), TRUTH, k=k)


@pytest.mark.parametrize(
    ("which", "weights", "message"),
    [
        (["P@1"], WEIGHTS, "without their depth"),
        ([], WEIGHTS, "expected some of P, R"),
        (["PSP"], None, "without propensities"),
    ],
)
def test_a_bad_choice(which, weights, message) -> None:
    with pytest.raises(SettingError, match=message):
        measure(falling(LABELS), TRUTH, k=1, which=which, inverse_propensity=weights)


def scored(labels: object, scores: object) -> TopK:
    return TopK(np.asarray(labels), np.asarray(scores))


@pytest.mark.parametrize(
    ("top", "message"),
    [
        (falling(LABELS[:2]), "predictions for 2 texts; expected 3"),
        (falling(np.array([[0], [5], [1]])), "row 1 predicts label 5, but there are 5 labels"),
        (falling(np.array([[0], [1], [-2]])), "row 2 predicts label -2"),
        (scored([[0, 1]] * 3, [[2.0, 1], [1, np.nan], [2, 1]]), "row 1 holds NaN"),
        (scored([[0]] * 3, [[2.0], [1], [np.nan]]), "row 2 holds NaN"),
        (scored([[0, 1]] * 3, [[2.0, 1], [1, 2], [1, 2]]), r"row 1 is not sorted \(2 such rows\)"),
        (scored([[0, 1]] * 3, [[2.0]] * 3), "same shape"),
        (scored([[0.0]] * 3, [[2.0]] * 3), "float64"),
        (scored([[0]] * 3, [["a"]] * 3), "expected a matrix of integers"),
        (scored([0] * 3, [1.0] * 3), "expected a matrix of integers"),
        (scored(np.zeros((3, 0), dtype=int), np.zeros((3, 0))), "k at least 1"),
    ],
)
def test_predictions_that_are_refused(top, message) -> None:
    with pytest.raises(DataError, match=message):
        measure(top, TRUTH, k=1)


def damaged() -> sp.csr_matrix:
    matrix = TRUTH.copy()
    matrix.indices[0] = 77
    return matrix


@pytest.mark.parametrize(
    ("truth", "message"),
    [
        (TRUTH.toarray(), "type ndarray"),
        (-1 * TRUTH, "negative"),
        (TRUTH * np.nan, "NaN"),
        (sp.csr_matrix((3, 5)), "3 texts with 0 true labels"),
        (damaged(), "damaged CSR"),
    ],
)
def test_truth_that_is_refused(truth, message) -> None:
    with pytest.raises(DataError, match=message):
        measure(falling(LABELS), truth, k=1)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (WEIGHTS[:4], "for 5 labels"),
        (WEIGHTS.astype(str), "for 5 labels"),
        (np.array([1, 1, 1, 1, np.nan]), "finite number above 0"),
        (np.array([1, 1, 1, 1, 0]), "finite number above 0"),
    ],
)
def test_propensities_that_are_refused(weights, message) -> None:
    with pytest.raises(DataError, match=message):
        measure(falling(LABELS), TRUTH, k=1, inverse_propensity=weights)
