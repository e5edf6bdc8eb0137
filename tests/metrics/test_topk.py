"""Filter pairs and foreign score matrices."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.metrics.topk import apply_filter, topk_from_csr
from megalabel.types import TopK

TOP = TopK(
    np.array([[4, 2, 0, 1], [3, 1, 4, 0], [2, 0, -1, -1]]),
    np.array([[9, 8, 7, 6], [5, 4, 3, 2], [1, 0.5, -np.inf, -np.inf]], dtype=np.float32),
)
NONE = np.zeros((0, 2), dtype=np.int64)


def test_pairs_are_removed_before_the_cut() -> None:
    kept = apply_filter(TOP, np.array([[1, 4], [0, 4], [0, 0], [2, 4], [0, 4]]), k=2)
    assert kept.ids.tolist() == [[2, 1], [3, 1], [2, 0]]
    assert kept.scores.tolist() == [[8, 6], [5, 4], [1, 0.5]]
    assert kept.ids.dtype == np.int64 and kept.scores.dtype == np.float32


def test_no_pairs_is_a_cut() -> None:
    kept = apply_filter(TOP, NONE, k=3)
    assert np.array_equal(kept.ids, TOP.ids[:, :3]) and np.array_equal(kept.scores, TOP.scores[:, :3])


def test_a_row_that_held_everything_is_padded() -> None:
    kept = apply_filter(TOP, np.array([[2, 2]]), k=3)
    assert kept.ids[2].tolist() == [0, -1, -1]
    assert kept.scores[2].tolist() == [0.5, -np.inf, -np.inf]


def test_a_full_row_with_too_few_left_is_refused_with_the_width_to_predict() -> None:
    with pytest.raises(DataError, match=r"leaves row 0 2 of its 4 labels \(1 such rows\).*Predict 5 labels"):
        apply_filter(TOP, np.array([[0, 4], [0, 1]]), k=3)


def test_the_last_row_and_label_of_a_pair_do_not_touch_the_next_row() -> None:
    # Row 0 label 4 and row 1 label -1 would be one number if padding took part.
    top = TopK(np.array([[4, 3], [0, -1]]), np.array([[2, 1], [2, -np.inf]]))
    kept = apply_filter(top, np.array([[0, 4]]), k=1)
    assert kept.ids.tolist() == [[3], [0]]


@pytest.mark.parametrize(
    ("pairs", "message"),
    [
        (np.array([[3, 0]]), "filter pair 0 is .row 3, label 0., with 3 rows"),
        (np.array([[0, 0], [0, -1]]), "filter pair 1"),
        (np.array([0, 1]), "shape"),
        (np.array([[0.5, 1.0]]), "float64"),
        (np.array([[0, 2**62]]), "without gaps"),
    ],
)
def test_pairs_that_are_refused(pairs, message) -> None:
    with pytest.raises(DataError, match=message):
        apply_filter(TOP, pairs, k=1)


@pytest.mark.parametrize("k", [0, 5, True, 1.5])
def test_k_out_of_range(k) -> None:
    with pytest.raises(SettingError, match="from 1 to 4"):
        apply_filter(TOP, NONE, k)


def test_scores_of_other_tools_are_sorted_with_ties_to_the_lower_label() -> None:
    indices = [3, 0, 2, 1, 4, 0]
    data = np.array([0.5, 0.9, 0.5, 0.5, -1.0, 0.0])
    top = topk_from_csr(sp.csr_matrix((data, indices, [0, 4, 4, 6]), shape=(3, 5)), k=3)
    assert top.ids.tolist() == [[0, 1, 2], [-1, -1, -1], [0, 4, -1]]
    assert top.scores.tolist() == [[np.float32(0.9), 0.5, 0.5], [-np.inf] * 3, [0, -1, -np.inf]]
    assert top.ids.dtype == np.int64 and top.scores.dtype == np.float32


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.float32, bool])
def test_scores_of_any_real_dtype(dtype) -> None:
    top = topk_from_csr(sp.csr_matrix(np.array([[0, 1, 0], [1, 0, 1]], dtype=dtype)), k=2)
    assert top.ids.tolist() == [[1, -1], [0, 2]]


def test_scores_equal_a_dense_sort() -> None:
    rng = np.random.default_rng(0)
    dense = rng.integers(1, 6, (50, 20)) * (rng.random((50, 20)) < 0.6)
    top = topk_from_csr(sp.csr_matrix(dense.astype(np.float64)), k=20)
    for row, labels in zip(dense, top.ids, strict=True):
        stored = np.flatnonzero(row)
        expected = sorted(stored, key=lambda label: (-row[label], label))
        assert labels[labels >= 0].tolist() == expected


def test_no_rows_and_no_entries() -> None:
    assert topk_from_csr(sp.csr_matrix((0, 5)), k=2).ids.shape == (0, 2)
    assert topk_from_csr(sp.csr_matrix((2, 5)), k=1).ids.tolist() == [[-1], [-1]]


def bad_index() -> sp.csr_matrix:
    matrix = sp.csr_matrix(np.eye(3))
    matrix.indices[1] = 9
    return matrix


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (np.eye(3), "ndarray"),
        (sp.csr_matrix(np.eye(3) * 1j), "real numbers"),
        (sp.csr_matrix(([1.0, np.nan], [0, 2], [0, 1, 2]), shape=(2, 3)), "row 1 scores label 2 with NaN"),
        (sp.csr_matrix(([1.0, 1, 1], [2, 0, 2], [0, 3]), shape=(1, 3)), "row 0 scores label 2 twice"),
        (bad_index(), "damaged CSR"),
    ],
)
def test_scores_that_are_refused(scores, message) -> None:
    with pytest.raises(DataError, match=message):
        topk_from_csr(scores, k=1)


def test_scores_need_a_k() -> None:
    with pytest.raises(SettingError, match="k: "):
        topk_from_csr(sp.csr_matrix(np.eye(3)), k=0)
