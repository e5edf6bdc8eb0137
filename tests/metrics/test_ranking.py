"""`measure` on three texts by hand, and its properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given
from hypothesis import strategies as st

from megalabel.metrics.ranking import FAMILIES, measure
from megalabel.types import TopK

# Text 0 has labels 0, 1, 2; text 1 has label 3; text 2 has none. Label 4 has no text.
TRUTH = sp.csr_matrix(np.array([[1, 1, 1, 0, 0], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]))
LABELS = np.array([[1, 4, 0], [0, 3, -1], [3, 2, 1]])
WEIGHTS = np.array([2.0, 3.0, 4.0, 5.0, 6.0])


def falling(labels: np.ndarray) -> TopK:
    """`labels` with some falling scores, -inf where there is no label."""
    scores = np.broadcast_to(-np.arange(labels.shape[1], dtype=np.float32), labels.shape)
    return TopK(labels, np.where(labels < 0, np.float32(-np.inf), scores))


def test_three_texts_by_hand() -> None:
    values = measure(falling(LABELS), TRUTH, inverse_propensity=WEIGHTS, k=(1, 3))
    second, third = 1 / math.log2(3), 1 / 2
    expected = {
        "P@1": 1 / 3,
        "P@3": (2 / 3 + 1 / 3 + 0) / 3,
        "R@1": (1 / 3 + 0 + 0) / 3,
        "R@3": (2 / 3 + 1 + 0) / 3,
        "nDCG@1": 1 / 3,
        "nDCG@3": ((1 + third) / (1 + second + third) + second + 0) / 3,
        "PSP@1": 3 / (4 + 5),
        "PSP@3": (3 + 2 + 5) / (4 + 3 + 2 + 5),
        "PSnDCG@1": 3 / (4 + 5),
        "PSnDCG@3": ((3 + 2 * third) / (1 + second + third) + 5 * second)
        / ((4 + 3 * second + 2 * third) / (1 + second + third) + 5),
        "coverage@1": 1 / 4,
        "coverage@3": 3 / 4,
        # (right, predicted, true) of labels 0 to 3: (0 1 1) (1 1 1) (0 0 1) (0 1 1) at 1,
        # (1 2 1) (1 2 1) (0 1 1) (1 2 1) at 3
        "macro-F1@1": (0 + 1 + 0 + 0) / 4,
        "macro-F1@3": (2 / 3 + 2 / 3 + 0 + 2 / 3) / 4,
    }
    assert values == pytest.approx({name: 100 * value for name, value in expected.items()}, rel=1e-13)
    assert list(values) == list(expected), "one family after the other, in the order of the papers"


def test_without_propensities_there_is_no_psp() -> None:
    assert not [name for name in measure(falling(LABELS), TRUTH, k=1) if name.startswith("PS")]


def test_a_choice_of_metrics() -> None:
    everything = measure(falling(LABELS), TRUTH, inverse_propensity=WEIGHTS, k=2)
    for name in FAMILIES:
        chosen = measure(falling(LABELS), TRUTH, inverse_propensity=WEIGHTS, k=2, which=[name])
        assert chosen == {f"{name}@2": everything[f"{name}@2"]}


def test_tensors_and_half_precision_scores_are_taken() -> None:
    top = falling(LABELS)
    tensors = TopK(torch.from_numpy(top.ids), torch.from_numpy(top.scores).to(torch.bfloat16))
    assert measure(tensors, TRUTH, k=3) == measure(top, TRUTH, k=3)


def test_a_repeated_label_does_not_count_twice() -> None:
    once, twice = np.array([[1, 4, -1]] * 3), np.array([[1, 1, 1]] * 3)
    for name in ("P", "R", "nDCG", "PSP", "PSnDCG"):
        a, b = (measure(falling(x), TRUTH, inverse_propensity=WEIGHTS, k=3, which=[name]) for x in (once, twice))
        assert a == b


def test_the_truth_may_be_unsorted_repeated_and_hold_zeros() -> None:
    rows, columns = [0, 0, 0, 0, 1, 2], [2, 1, 0, 0, 3, 4]
    untidy = sp.csr_matrix((np.array([1, 1, 1, 1, 1, 0.0]), columns, [0, 4, 5, 6]), shape=(3, 5))
    assert untidy.nnz == len(rows)
    assert measure(falling(LABELS), untidy, k=3) == measure(falling(LABELS), TRUTH, k=3)
    assert untidy.nnz == len(rows), "the caller's matrix stays as it was"


@st.composite
def problems(draw: st.DrawFn) -> tuple[np.ndarray, sp.csr_matrix, np.ndarray]:
    """Predictions (N, k) without repeats, padded here and there; truth (N, L) with a label; weights."""
    n, n_labels = draw(st.integers(1, 6)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    k = draw(st.integers(1, n_labels))
    dense = rng.random((n, n_labels)) < draw(st.sampled_from([0.1, 0.5, 0.9]))
    dense[rng.integers(n), rng.integers(n_labels)] = True
    labels = np.argsort(rng.random((n, n_labels)), axis=1)[:, :k]
    labels[np.arange(k) >= rng.integers(0, k + 1, (n, 1))] = -1
    return labels, sp.csr_matrix(dense.astype(np.float32)), 1 + 9 * rng.random(n_labels)


def every(labels: np.ndarray, truth: sp.csr_matrix, weights: np.ndarray) -> dict[str, float]:
    return measure(falling(labels), truth, k=range(1, labels.shape[1] + 1), inverse_propensity=weights)


@given(problems(), st.randoms(use_true_random=False))
def test_the_order_of_texts_and_the_numbering_of_labels_change_nothing(problem, random) -> None:
    labels, truth, weights = problem
    expected = every(labels, truth, weights)
    texts = random.sample(range(len(labels)), len(labels))
    assert every(labels[texts], truth[texts], weights) == pytest.approx(expected)
    new_id = np.array(random.sample(range(truth.shape[1]), truth.shape[1]))
    old_id = np.argsort(new_id)
    renumbered = np.where(labels < 0, -1, new_id[labels])
    assert every(renumbered, truth[:, old_id], weights[old_id]) == pytest.approx(expected)


@given(problems())
def test_everything_lies_between_0_and_100(problem) -> None:
    assert all(0 <= value <= 100 + 1e-9 for value in every(*problem).values())


@given(problems())
def test_a_perfect_ranking_scores_100(problem) -> None:
    _, truth, weights = problem
    dense = truth.toarray() > 0
    order = np.argsort(np.where(dense, -weights, np.inf), axis=1)
    labels = np.where(np.take_along_axis(dense, order, axis=1), order, -1)
    values = every(labels, truth, weights)
    has_labels = 100 * dense.any(axis=1).mean()
    for k in range(1, labels.shape[1] + 1):
        assert values[f"PSP@{k}"] == pytest.approx(100)
        assert values[f"PSnDCG@{k}"] == pytest.approx(100)
        assert values[f"nDCG@{k}"] == pytest.approx(has_labels), "texts without labels stay in the mean"
    last = f"@{labels.shape[1]}"
    assert values["R" + last] == pytest.approx(has_labels)
    assert values["coverage" + last] == values["macro-F1" + last] == pytest.approx(100)


@given(problems())
def test_one_more_hit_raises_what_it_should(problem) -> None:
    labels, truth, weights = problem
    dense = truth.toarray() > 0
    before = every(labels, truth, weights)
    for row, column in np.argwhere(labels < 0):
        missing = np.setdiff1d(np.flatnonzero(dense[row]), labels[row])
        if len(missing) == 0:
            continue
        better = labels.copy()
        better[row, column] = missing[0]
        # Scores fall with the place, also across a hole.
        scores = np.broadcast_to(-np.arange(labels.shape[1], dtype=np.float32), labels.shape)
        after = measure(TopK(better, scores), truth, k=range(1, labels.shape[1] + 1), inverse_propensity=weights)
        for name in ("P", "R", "nDCG", "PSP", "PSnDCG"):
            for k in range(column + 1, labels.shape[1] + 1):
                assert after[f"{name}@{k}"] > before[f"{name}@{k}"]
        return


@given(problems())
def test_padding_changes_nothing_but_the_width(problem) -> None:
    labels, truth, weights = problem
    wide = np.concatenate([labels, np.full_like(labels, -1)], axis=1)
    k = labels.shape[1]
    padded = measure(falling(wide), truth, k=(k, 2 * k), inverse_propensity=weights)
    values = measure(falling(labels), truth, k=k, inverse_propensity=weights)
    assert padded.items() >= values.items()
    assert padded[f"P@{2 * k}"] == pytest.approx(values[f"P@{k}"] / 2), "P@k always divides by k"
