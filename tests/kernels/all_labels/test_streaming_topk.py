"""Top k by chunks against one stable sort of all scores."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from megalabel.errors import DataError, SettingError
from megalabel.kernels.all_labels.streaming_topk import plain, plain_of, streaming_topk, topk_of
from megalabel.kernels.all_labels.topk_bodies import pack, unpack
from megalabel.kernels.core import dispatch
from megalabel.types import Positives, TopK

BODIES = ["numba, 1 thread", "numba, 2 threads", "packed keys"]


@pytest.fixture(autouse=True, params=BODIES)
def body(request: pytest.FixtureRequest) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2 if "2" in request.param else 1)
    with dispatch.use("plain" if request.param == "packed keys" else "cpu"):
        yield
    torch.set_num_threads(before)


def same(a: TopK, b: TopK) -> None:
    assert torch.equal(a.ids, b.ids)
    assert torch.equal(a.scores, b.scores)


def whole(*shape: int, seed: int) -> torch.Tensor:
    """Small whole numbers: products are exact whatever the order, and ties are everywhere."""
    return torch.randint(-3, 4, shape, generator=torch.Generator().manual_seed(seed)).float()


@pytest.mark.pairwise("body", bias=[True, False], chunk=[1, 8, 53, 1000, None], k=[1, 5, 53, 60], body=BODIES)
def test_equals_a_stable_sort(k, chunk, bias, seed):
    x, weight = whole(7, 3, seed=seed), whole(53, 3, seed=seed + 1)
    b = whole(53, seed=seed + 2) if bias else None
    pairs = (torch.rand(7, 53, generator=torch.Generator().manual_seed(seed)) < 0.3).nonzero()
    exclude = Positives.from_pairs(pairs[:, 0], pairs[:, 1])
    same(streaming_topk(x, weight, b, k, chunk=chunk), plain(x, weight, b, k))
    same(streaming_topk(x, weight, b, k, exclude, chunk=chunk), plain(x, weight, b, k, exclude))


@settings(max_examples=15)
@given(
    st.integers(1, 4),
    st.integers(1, 200),
    st.integers(1, 20),
    st.integers(1, 70),
    st.integers(0, 2**20),
)
def test_any_shape(n, n_labels, k, chunk, seed):
    x, weight = whole(n, 2, seed=seed), whole(n_labels, 2, seed=seed + 1)
    same(streaming_topk(x, weight, None, k, chunk=chunk), plain(x, weight, None, k))


def test_ties_go_to_the_lower_label():
    found = streaming_topk(torch.ones(1, 2), torch.ones(300, 2), None, 4, chunk=7)
    assert found.ids.tolist() == [[0, 1, 2, 3]]


def test_fewer_labels_than_k_fill_with_minus_one():
    found = streaming_topk(torch.ones(2, 1), torch.tensor([[1.0], [2.0]]), None, 4)
    assert found.ids.tolist() == [[1, 0, -1, -1]] * 2
    assert found.scores[:, 2:].tolist() == [[-np.inf] * 2] * 2


def test_everything_excluded():
    exclude = Positives(torch.tensor([1, 1, 1]), torch.tensor([2, 0, 1]))  # unsorted on purpose
    found = streaming_topk(torch.ones(2, 1), torch.tensor([[1.0], [2.0], [3.0]]), None, 2, exclude)
    assert found.ids.tolist() == [[2, 1], [-1, -1]]
    assert found.scores.tolist() == [[3, 2], [-np.inf, -np.inf]]


def test_dtypes_and_an_empty_batch(seed):
    x, weight = whole(3, 4, seed=seed), whole(20, 4, seed=seed)
    expected = plain(x, weight, None, 5)
    for a, b in ((x.double(), weight.double()), (x.bfloat16(), weight)):
        found = streaming_topk(a, b, None, 5)
        same(found, expected)
        assert (found.ids.dtype, found.scores.dtype) == (torch.int64, torch.float32)
    assert streaming_topk(x[:0], weight, None, 5).ids.shape == (0, 5)


def test_scores_that_rise_with_the_label_keep_the_last():
    weight = torch.arange(1000.0)[:, None]
    found = streaming_topk(torch.ones(1, 1), weight, None, 100, chunk=64)
    assert found.ids.tolist() == [list(range(999, 899, -1))]


def test_nan_is_refused(seed):
    x, weight = whole(3, 4, seed=seed), whole(20, 4, seed=seed)
    weight[7] = float("nan")
    exclude = Positives(torch.tensor([0]), torch.tensor([0]))
    with pytest.raises(SettingError, match="NaN"):
        streaming_topk(x, weight, None, 20, exclude)
    x[1] = float("nan")
    with pytest.raises(SettingError, match="NaN"):
        streaming_topk(x, weight, None, 1)


def test_settings_that_do_not_fit(seed):
    x, weight = whole(3, 4, seed=seed), whole(20, 4, seed=seed)
    with pytest.raises(SettingError, match="k=0"):
        streaming_topk(x, weight, None, 0)
    with pytest.raises(SettingError, match="same D"):
        streaming_topk(x[:, :2], weight, None, 1)
    with pytest.raises(SettingError, match="a bias"):
        streaming_topk(x, weight, weight[:, 0][:3], 1)
    for row, label in ((3, 0), (0, 20), (-1, 0), (0, -1)):
        with pytest.raises(DataError, match="excluded pairs"):
            streaming_topk(x, weight, None, 1, Positives(torch.tensor([row]), torch.tensor([label])))


def test_packed_keys_keep_order_and_value():
    scores = torch.tensor([-np.inf, -3.5, -1e-30, -0.0, 0.0, 1e-30, 2.0, 3e38])
    labels = torch.tensor([5, 1, 2, 9, 8, 3, 2**32 - 1, 0])
    keys = pack(scores, labels)
    assert keys.tolist() == sorted(keys.tolist())
    found, ids = unpack(keys)
    assert torch.equal(found, scores)
    assert torch.equal(ids, labels)


CPU = torch.device("cpu")


def of_matrix(scores: torch.Tensor, k: int, exclude=None, row_to_label=None, chunk=None, by_label=False) -> TopK:
    """`topk_of` where the scores of a chunk are a transposed view of (n, B), or not."""

    def score(start: int, stop: int) -> torch.Tensor:
        z = scores[:, start:stop].clone()
        return z.t().contiguous().t() if by_label else z

    n_texts, n_rows = scores.shape
    found = topk_of(
        score, n_rows, n_texts, k, exclude, device=CPU, width=3, row_to_label=row_to_label, chunk=chunk
    )
    assert (found.ids.dtype, found.scores.dtype) == (torch.int64, torch.float32)
    return found


def shuffled(n: int, seed: int) -> torch.Tensor:
    return torch.randperm(n, generator=torch.Generator().manual_seed(seed))


@pytest.mark.pairwise("body", k=[1, 7, 101, 130], chunk=[1, 9, 100, None], by_label=[True, False], body=BODIES)
def test_rows_with_names_equal_a_stable_sort_by_label(k, chunk, by_label, seed):
    scores = whole(5, 101, seed=seed)  # seven values: ties everywhere, those at the k-th place too
    for row_to_label in (None, torch.arange(101), torch.arange(101).flip(0), shuffled(101, seed)):
        pairs = (torch.rand(5, 101, generator=torch.Generator().manual_seed(seed)) < 0.3).nonzero()
        pairs = pairs[shuffled(len(pairs), seed)]
        exclude = Positives(pairs[:, 0], pairs[:, 1])
        for left_out in (None, exclude):
            same(
                of_matrix(scores, k, left_out, row_to_label, chunk, by_label),
                plain_of(scores, k, left_out, row_to_label),
            )


@settings(max_examples=15)
@given(
    st.integers(1, 150),
    st.integers(1, 200),
    st.integers(1, 20),
    st.integers(1, 70),
    st.booleans(),
    st.integers(0, 2**20),
)
def test_any_shape_by_name(n, n_labels, k, chunk, by_label, seed):
    scores, row_to_label = whole(n, n_labels, seed=seed), shuffled(n_labels, seed)
    same(of_matrix(scores, k, None, row_to_label, chunk, by_label), plain_of(scores, k, None, row_to_label))


@pytest.mark.pairwise("body", score=[-2.5, 0.0, 1e-30], by_label=[True, False], body=BODIES)
def test_equal_scores_give_the_lowest_labels(score, by_label, seed):
    row_to_label = shuffled(300, seed)
    found = of_matrix(torch.full((70, 300), score), 4, None, row_to_label, 7, by_label)
    assert found.ids.tolist() == [[0, 1, 2, 3]] * 70
    assert torch.equal(found.scores, torch.full((70, 4), score))
    exclude = Positives(torch.tensor([69, 69, 69]), torch.tensor([3, 0, 1]))
    found = of_matrix(torch.full((70, 300), score), 4, exclude, row_to_label, 7, by_label)
    assert found.ids.tolist() == [[0, 1, 2, 3]] * 69 + [[2, 4, 5, 6]]


@pytest.mark.parametrize("by_label", [True, False])
def test_zeros_of_both_signs_tie(by_label, seed):
    scores = torch.tensor([[0.0, -0.0] * 20, [-0.0, 0.0] * 20])
    assert of_matrix(scores, 3, None, torch.arange(40).flip(0), 6, by_label).ids.tolist() == [[0, 1, 2]] * 2


@pytest.mark.parametrize("by_label", [True, False])
def test_nothing_left_by_name(by_label):
    exclude = Positives(torch.tensor([1, 1, 1]), torch.tensor([2, 0, 1]))
    scores = torch.tensor([[1.0, 2.0, 3.0]] * 2)
    found = of_matrix(scores, 5, exclude, torch.tensor([2, 0, 1]), 2, by_label)
    assert found.ids.tolist() == [[1, 0, 2, -1, -1], [-1] * 5]
    assert found.scores.tolist() == [[3, 2, 1, -np.inf, -np.inf], [-np.inf] * 5]
    assert of_matrix(scores[:0], 2, None, torch.tensor([2, 0, 1]), 2, by_label).ids.shape == (0, 2)


@pytest.mark.parametrize("by_label", [True, False])
def test_nan_is_refused_by_name(by_label):
    scores = torch.zeros(2, 5)
    scores[1, 2] = float("nan")
    with pytest.raises(SettingError, match="NaN"):
        of_matrix(scores, 5, Positives(torch.tensor([0]), torch.tensor([0])), None, 2, by_label)


@pytest.mark.parametrize("row_to_label", [[0, 1, 1], [0, 1, 3], [-1, 0, 1], [0, 1], [0.0, 1.0, 2.0]])
@pytest.mark.parametrize("body", BODIES[:1], indirect=True)  # checked before anything runs
def test_row_to_label_is_a_permutation(row_to_label):
    with pytest.raises(SettingError, match="row_to_label"):
        of_matrix(torch.zeros(1, 3), 1, None, torch.tensor(row_to_label))


def test_excluded_labels_are_checked_by_name():
    with pytest.raises(DataError, match="excluded pairs"):
        of_matrix(torch.zeros(1, 3), 1, Positives(torch.tensor([0]), torch.tensor([3])), torch.tensor([2, 0, 1]))
