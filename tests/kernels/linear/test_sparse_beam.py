"""The sparse beam search against its definition in float64: odd trees, odd texts, ties, threads, bad input."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
import torch

from megalabel.errors import DataError, SettingError
from megalabel.kernels.linear import sparse_beam as module
from megalabel.kernels.linear.sparse_beam import SparseBeam, plain, topk
from megalabel.kernels.linear.sparse_chunks import Chunks
from megalabel.types import Positives, TopK

SCORES = ("l3-hinge", "l2-hinge", "sigmoid")


SEARCHES = ["1 thread, looked up", "2 threads, tabled"]


@pytest.fixture(autouse=True, params=SEARCHES)
def body(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2 if "2" in request.param else 1)
    monkeypatch.setattr(module, "_FEW", 0 if "tabled" in request.param else 10**9)
    yield
    torch.set_num_threads(before)


class Case:
    """A ragged tree, its weights and texts; quarters: exact in any order of summing, and full of ties."""

    def __init__(self, seed: int, depth: int = 2, texts: int = 9, features: int = 12, share: float = 0.3) -> None:
        self.rng = rng = np.random.default_rng(seed)
        sizes, self.offsets = [int(rng.integers(1, 5))], []
        for _ in range(depth):
            self.offsets.append(np.concatenate([[0], np.cumsum(rng.integers(1, 6, sizes[-1]))]))
            sizes.append(int(self.offsets[-1][-1]))
        self.weights = []
        for n, parents in zip(sizes, [np.array([0, sizes[0]]), *self.offsets], strict=True):
            weight, empty = self.quarters(n, features + 1, share), int(rng.integers(len(parents) - 1))
            weight[parents[empty] : parents[empty + 1], :-1] = 0  # one chunk without weights
            weight[:, rng.integers(features + 1)] = 0  # and one feature
            self.weights.append(sp.csr_matrix(weight))
        self.order = rng.permutation(sizes[-1])
        x = self.quarters(texts, features, 0.4)
        x[0] = 0  # a text without known words
        self.x = sp.csr_matrix(x)
        self.levels = [
            Chunks.from_weights(w, o) for w, o in zip(self.weights, [[0, sizes[0]], *self.offsets], strict=True)
        ]

    def quarters(self, rows: int, columns: int, share: float) -> np.ndarray:
        values = self.rng.integers(-6, 7, (rows, columns)).astype(np.float32) / 4
        return values * (self.rng.random((rows, columns)) < share)

    def pairs(self, share: float = 0.3) -> Positives:
        found = np.argwhere(self.rng.random((self.x.shape[0], len(self.order))) < share)
        self.rng.shuffle(found)
        return Positives(*torch.from_numpy(found.T.copy()))

    def plain(self, *arguments: Any, **more: Any) -> TopK:
        return plain(self.x, self.weights, self.offsets, self.order, *arguments, **more)

    def topk(self, *arguments: Any, **more: Any) -> TopK:
        return topk(self.x, self.levels, self.order, *arguments, **more)


def same(found: TopK, wanted: TopK) -> None:
    np.testing.assert_array_equal(found.ids, wanted.ids)
    np.testing.assert_allclose(found.scores, wanted.scores, rtol=1e-6)
    assert found.ids.dtype == np.int64 and found.scores.dtype == np.float32


@pytest.mark.pairwise("body", depth=[0, 1, 2, 3], scores=SCORES, body=SEARCHES)
def test_equals_the_definition(depth, scores, seed):
    for more in range(4):
        case = Case(seed + more, depth)
        for width in (1, 2, 1000):
            beams = [width] * depth
            for k in (1, 4, 100):
                same(case.topk(beams, k, scores), case.plain(beams, k, scores))
            exclude = case.pairs()
            found = case.topk(beams, 4, scores, exclude)
            same(found, case.plain(beams, 4, scores, exclude))
            given = {(t, label) for t, row in enumerate(found.ids.tolist()) for label in row}
            assert not given & set(zip(exclude.rows.tolist(), exclude.labels.tolist(), strict=True))


def test_scores_by_hand():
    level = Chunks.from_weights(sp.csr_matrix([[2.0, 0.5], [0.0, 0.0], [0.5, -1.0]]), [0, 3], bias=2.0)
    z = np.array([2.0, 0.0, -1.75])  # of a text with 0.5 of the only feature: bias 2 · 0.5, and so on
    x = sp.csr_matrix([[0.5]])
    for scores, wanted in (
        ("l3-hinge", np.exp(-(np.maximum(0, 1 - z) ** 3))),
        ("l2-hinge", np.exp(-(np.maximum(0, 1 - z) ** 2))),
        ("sigmoid", 1 / (1 + np.exp(-z))),
    ):
        found = topk(x, [level], np.arange(3), [], 3, scores)
        assert found.ids.tolist() == [[0, 1, 2]]
        np.testing.assert_allclose(found.scores[0], wanted, rtol=1e-6)


def test_ties_go_to_the_lower_label():
    level = Chunks.from_weights(sp.csr_matrix(np.ones((5, 2))), [0, 5])
    found = topk(sp.csr_matrix([[0.25]]), [level], np.array([3, 1, 4, 0, 2]), [], 3)
    assert found.ids.tolist() == [[0, 1, 2]] and (found.scores == 1).all()


def random_case(seed: int, texts: int = 300) -> tuple[sp.csr_matrix, list[Chunks], np.ndarray]:
    """Larger, and with all digits, so that an order of summing would show."""
    rng = np.random.default_rng(seed)
    offsets = [np.array([0, 7]), np.arange(0, 7 * 9 + 1, 9), np.arange(0, 63 * 5 + 1, 5)]
    levels = [
        Chunks.from_weights(sp.random(o[-1], 501, 0.2, format="csr", dtype=np.float32, random_state=rng), o)
        for o in offsets
    ]
    return (
        sp.random(texts, 500, 0.05, format="csr", dtype=np.float32, random_state=rng),
        levels,
        rng.permutation(315),
    )


def test_bits_depend_on_no_other_text(seed, monkeypatch):
    x, levels, order = random_case(seed)
    search = SparseBeam(levels, order, [3, 6])
    whole = search(x, 9)
    parts = [search(x[start : start + 50], 9) for start in range(0, 300, 50)]
    parts = [*parts, *(search(x[[t]], 9) for t in range(300))]
    monkeypatch.setattr(module, "_BLOCK", 7)
    for again in (
        search(x, 9),
        TopK(*(np.concatenate([getattr(p, f) for p in parts[:6]]) for f in ("ids", "scores"))),
    ):
        np.testing.assert_array_equal(again.ids, whole.ids)
        np.testing.assert_array_equal(again.scores, whole.scores)
    for t, one in enumerate(parts[6:]):
        np.testing.assert_array_equal(one.ids[0], whole.ids[t])
        np.testing.assert_array_equal(one.scores[0], whole.scores[t])


def test_threads_change_no_bit(seed):
    x, levels, order = random_case(seed)
    answers = []
    for threads in (1, 2, 3):
        torch.set_num_threads(threads)
        answers.append(topk(x, levels, order, [3, 6], 9))
    for answer in answers[1:]:
        np.testing.assert_array_equal(answer.ids, answers[0].ids)
        np.testing.assert_array_equal(answer.scores, answers[0].scores)


@pytest.mark.parametrize("scores", SCORES)
def test_dense_part(scores, seed):
    case = Case(seed, depth=2)
    dense = [case.rng.integers(-2, 3, (w.shape[0], 5)) / np.float32(4) for w in case.weights]
    inputs = case.rng.integers(-2, 3, (case.x.shape[0], 5)) / np.float32(4)
    sizes = [np.array([0, len(dense[0])]), *case.offsets]
    levels = [Chunks.from_weights(w, o, dense=d) for w, o, d in zip(case.weights, sizes, dense, strict=True)]
    found = topk(case.x, levels, case.order, [2, 3], 6, scores, inputs=inputs)
    same(found, case.plain([2, 3], 6, scores, inputs=inputs, dense=dense))
    dense[0][:] = 0
    found = topk(case.x, [case.levels[0], *levels[1:]], case.order, [2, 3], 6, scores, inputs=inputs)
    same(found, case.plain([2, 3], 6, scores, inputs=inputs, dense=dense))


def test_no_texts_and_no_features(seed):
    case = Case(seed)
    assert topk(case.x[:0], case.levels, case.order, [2, 2], 3).ids.shape == (0, 3)
    levels = [
        Chunks.from_weights(sp.csr_matrix(w[:, -1]), c.offsets)
        for w, c in zip(case.weights, case.levels, strict=True)
    ]
    found = topk(sp.csr_matrix((2, 0)), levels, case.order, [9, 99], 3)
    np.testing.assert_array_equal(found.ids[0], found.ids[1])
    same(
        found,
        plain(sp.csr_matrix((2, 0)), [w[:, [-1]] for w in case.weights], case.offsets, case.order, [9, 99], 3),
    )


def test_float64_and_unsorted_texts(seed):
    case = Case(seed)
    found = topk(case.x.astype(np.float64)[:, ::-1][:, ::-1], case.levels, case.order, [3, 3], 4)
    same(found, case.plain([3, 3], 4))


@pytest.mark.parametrize(
    "wrong, error, message",
    [
        ({"k": 0}, SettingError, "k=0"),
        ({"post_processor": "softmax"}, SettingError, "softmax"),
        ({"beams": [1]}, SettingError, "beams"),
        ({"beams": [1, 0]}, SettingError, "beams"),
        ({"order": np.zeros(3, dtype=int)}, SettingError, "order"),
        ({"levels": []}, SettingError, "levels"),
        ({"x": sp.csr_matrix((2, 13))}, DataError, "13 features"),
        ({"x": np.zeros((2, 12))}, DataError, "CSR matrix"),
        ({"x": sp.csr_matrix(np.full((1, 12), np.nan))}, DataError, "nan"),
        ({"x": sp.csr_matrix(np.full((1, 12), 1e300))}, DataError, "inf"),
        ({"inputs": np.zeros((9, 4), dtype=np.float32)}, DataError, "dense inputs"),
        ({"exclude": Positives(torch.tensor([9]), torch.tensor([0]))}, DataError, "excluded"),
        ({"exclude": Positives(torch.tensor([0]), torch.tensor([10**6]))}, DataError, "excluded"),
    ],
)
@pytest.mark.parametrize("body", SEARCHES[:1], indirect=True)  # checked before anything runs
def test_bad_input(wrong, error, message):
    case = Case(3)
    given = {"x": case.x, "levels": case.levels, "order": case.order, "beams": [2, 2], "k": 3}
    with pytest.raises(error, match=message):
        topk(**{**given, **wrong})


@pytest.mark.parametrize("value, message", [(np.nan, "nan"), (1e30, "1e15")])
def test_bad_dense_inputs(value, message):
    level = Chunks.from_weights(sp.csr_matrix((2, 3)), [0, 2], dense=np.ones((2, 4)))
    with pytest.raises(DataError, match=message):
        topk(sp.csr_matrix((1, 2)), [level], np.arange(2), [], 1, inputs=np.full((1, 4), value, dtype=np.float32))
    with pytest.raises(DataError, match="embeddings"):
        topk(sp.csr_matrix((1, 2)), [level], np.arange(2), [], 1)


def test_levels_that_do_not_fit():
    two, three = (
        Chunks.from_weights(sp.csr_matrix((2, 4)), [0, 2]),
        Chunks.from_weights(sp.csr_matrix((2, 3)), [0, 1, 2]),
    )
    with pytest.raises(SettingError, match="one chunk on the first level"):
        SparseBeam([two, two], np.arange(2), [1])
    with pytest.raises(SettingError, match="one chunk on the first level"):
        SparseBeam([three], np.arange(2), [])
    with pytest.raises(SettingError, match="same features"):
        SparseBeam([two, three], np.arange(2), [1])
    dense = [
        Chunks.from_weights(sp.csr_matrix((2, 4)), o, dense=np.ones((2, w)))
        for o, w in (([0, 2], 3), ([0, 1, 2], 4))
    ]
    with pytest.raises(SettingError, match="several widths"):
        SparseBeam(dense, np.arange(2), [1])
