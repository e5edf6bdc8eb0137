"""Calibrated rankings as one: order, absent labels, weights that move and that stay, and what is refused."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.sparse as sp

from megalabel.errors import DataError, SettingError
from megalabel.metrics.ranking import measure
from megalabel.models.mixture import Mixture
from megalabel.types import TopK

N, L, K = 300, 40, 20
PROBABILITIES = ["probability", "probability"]


def truth(rng):
    rows = [rng.choice(L, 2, replace=False) for _ in range(N)]
    return sp.csr_matrix((np.ones(2 * N), (np.repeat(np.arange(N), 2), np.concatenate(rows))), shape=(N, L))


def ranking(rng, labels, noise, *, logits=False, slope=1.0, shift=0.0, k=K):
    """True labels have log-odds 2, the others -2, both with noise, told as slope · z + shift."""
    z = labels.toarray() * 4 - 2 + noise * rng.normal(size=labels.shape)
    ids = np.argsort(-z, axis=1)[:, :k]
    z = np.take_along_axis(z, ids, 1) * slope + shift
    return TopK(ids, (z if logits else 1 / (1 + np.exp(-z))).astype(np.float32))


def answered(mixture, top, score_types):
    """What a mixture makes of one ranking: labels, and probabilities instead of their roots."""
    labels, scores = mixture.merge([top], [score_types], top.k).numpy()
    return labels, scores**2


def in_order(ids, scores, top, within=1e-5):
    """Whether labels follow the ranking's scores, but for what is too near for float32, as near 1."""
    told = np.full((N, L), -np.inf)
    np.put_along_axis(told, top.ids, top.scores, axis=1)
    falls = np.diff(np.take_along_axis(told, ids, axis=1), axis=1) <= within
    return (falls | ((np.diff(scores, axis=1) == 0) & (scores[:, 1:] > 0.99))).all()


@pytest.mark.parametrize("logits", [False, True])
@pytest.mark.parametrize(("slope", "shift"), [(1, 0), (3, -1), (0.2, 4)])
def test_calibration_keeps_the_order_and_finds_the_share_of_true_labels(rng, logits, slope, shift):
    labels = truth(rng)
    score_types = "logit" if logits else "probability"
    top = ranking(rng, labels, 1.0, logits=logits, slope=slope, shift=shift)
    mixture = Mixture.fit([top], [score_types], labels)
    ids, chances = answered(mixture, top, score_types)
    assert in_order(ids, chances, top)
    assert mixture.weights == (1.0,)
    true = np.take_along_axis(labels.toarray(), ids, 1)
    assert chances.sum() == pytest.approx(true.sum(), rel=0.02)
    sure = chances > 0.8
    assert true[sure].mean() == pytest.approx(chances[sure].mean(), abs=0.05)


@pytest.mark.parametrize(("slope", "shift"), [(1e-4, 0), (1e3, -3e4), (1, 500)])
def test_logits_of_any_scale_are_calibrated_alike(rng, slope, shift):
    labels = truth(rng)
    state = rng.bit_generator.state
    plain = ranking(rng, labels, 1.0, logits=True)
    rng.bit_generator.state = state
    odd = ranking(rng, labels, 1.0, logits=True, slope=slope, shift=shift)
    expected, found = (answered(Mixture.fit([t], ["logit"], labels), t, "logit")[1] for t in (plain, odd))
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_scores_of_the_opposite_neither_turn_around_nor_count_as_sure(rng):
    labels = truth(rng)
    top = ranking(rng, labels, 1.0, logits=True, k=L)
    upside_down = TopK(top.ids[:, ::-1], -top.scores[:, ::-1] + 10)
    mixture = Mixture.fit([upside_down], ["logit"], labels)
    ids, chances = answered(mixture, upside_down, "logit")
    assert in_order(ids, chances, upside_down, within=1e-2)
    np.testing.assert_allclose(chances, 2 / L, atol=1e-3)


def test_a_label_counts_nothing_for_the_ranking_that_lacks_it():
    found = [
        TopK(np.array([[3, 1]]), np.array([[0.64, 0.36]])),
        TopK(np.array([[1, -1]]), np.array([[0.25, -np.inf]])),
    ]
    labels, scores = Mixture.from_weights([1, 3]).merge(found, PROBABILITIES, 4).numpy()
    assert labels.tolist() == [[1, 3, -1, -1]]
    np.testing.assert_allclose(scores, [[0.25 * 0.6 + 0.75 * 0.5, 0.25 * 0.8, -np.inf, -np.inf]], rtol=1e-6)


def test_weights_move_to_the_better_ranking_and_to_both_where_both_know_something(rng):
    labels = truth(rng)
    good, noise, also = (ranking(rng, labels, much) for much in (1.5, 50, 1.5))
    alone = Mixture.fit([noise, good], PROBABILITIES, labels)
    assert alone.weights[1] > 0.5
    assert sum(alone.weights) == pytest.approx(1)
    mixture = Mixture.fit([good, also], PROBABILITIES, labels)
    reached = [measure(top, labels, k=5)["nDCG@5"] for top in (good, also)]
    assert measure(mixture.merge([good, also], PROBABILITIES, 5), labels, k=5)["nDCG@5"] > max(reached) + 1


def test_identical_rankings_stay_equal_and_answer_as_one(rng):
    labels = truth(rng)
    top = ranking(rng, labels, 1.5)
    mixture = Mixture.fit([top, top, top], ["probability"] * 3, labels)
    assert mixture.weights == pytest.approx((1 / 3,) * 3)
    assert in_order(*mixture.merge([top, top, top], ["probability"] * 3, K).numpy(), top)


def test_weights_that_are_given_are_taken_and_scores_calibrated_all_the_same(rng):
    labels = truth(rng)
    found = [ranking(rng, labels, much) for much in (1.5, 50)]
    mixture = Mixture.fit(found, PROBABILITIES, labels, [1, 3])
    assert mixture.weights == (0.25, 0.75)
    assert mixture.slopes == Mixture.fit(found, PROBABILITIES, labels).slopes != (1, 1)


def test_settings_come_back_from_json(rng):
    labels = truth(rng)
    mixture = Mixture.fit([ranking(rng, labels, 1.5), ranking(rng, labels, 2)], PROBABILITIES, labels)
    read = json.loads(json.dumps(mixture.config()))
    assert Mixture(**{name: tuple(values) for name, values in read.items()}) == mixture


def test_rankings_that_say_nothing_do_no_harm(rng):
    labels = truth(rng)
    good = ranking(rng, labels, 1.5)
    empty = TopK(np.full((N, K), -1), np.full((N, K), -np.inf, np.float32))
    same = TopK(good.ids, np.full((N, K), 0.5, np.float32))
    sure = TopK(good.ids, np.ones((N, K), np.float32))
    endless = TopK(good.ids, np.where(np.arange(K) == K - 1, -np.inf, good.scores))
    for other in (empty, same, sure, endless):
        score_types = ["probability", "logit" if other is endless else "probability"]
        labels_of, scores = (
            Mixture.fit([good, other], score_types, labels).merge([good, other], score_types, 5).numpy()
        )
        assert in_order(labels_of, scores, good)
        assert ((scores >= 0) & (scores <= 1)).all()


@pytest.mark.parametrize(
    "weights", [[], [0, 0], [1, -1], [float("nan"), 1], [float("inf"), 1], "12", ["a", 1], None], ids=str
)
def test_weights_that_cannot_be(weights):
    with pytest.raises(SettingError, match="one of at least 0 per ranking"):
        Mixture.from_weights(weights)


@pytest.mark.parametrize(
    "settings",
    [
        ((1.0,), (0.0,), (0.5, 0.5)),
        ((1.0, 1.0), (0.0,), (0.5, 0.5)),
        ((), (), ()),
        ((1.0, float("nan")), (0.0, 0.0), (0.5, 0.5)),
        ((1.0, 1.0), (0.0, float("inf")), (0.5, 0.5)),
        ((1.0, 1.0), (0.0, 0.0), (0.5, 0.6)),
        ((1.0, 1.0), (0.0, 0.0), (1.5, -0.5)),
    ],
    ids=str,
)
def test_settings_that_cannot_be(settings):
    with pytest.raises(SettingError, match="equally many finite numbers"):
        Mixture(*settings)


def test_held_out_texts_are_needed(rng):
    labels = truth(rng)
    top = ranking(rng, labels, 1.0)
    with pytest.raises(SettingError, match="300 held-out texts with 0 labels"):
        Mixture.fit([top, top], PROBABILITIES, sp.csr_matrix((N, L)))
    none = TopK(top.ids[:0], top.scores[:0])
    with pytest.raises(SettingError, match="0 held-out texts"):
        Mixture.fit([none, none], PROBABILITIES, labels[:0])


def test_rankings_of_other_texts_labels_or_numbers_are_refused(rng):
    labels = truth(rng)
    top = ranking(rng, labels, 1.0)
    fewer = TopK(top.ids[:9], top.scores[:9])
    bad = [
        ([top, fewer], PROBABILITIES, labels, []),
        ([top, fewer], PROBABILITIES, labels, [1, 1]),
        ([top, top], PROBABILITIES, labels[:9], []),
        ([top, top], PROBABILITIES, labels[:, :9].tocsr(), []),
        ([top], PROBABILITIES, labels, []),
        ([top, top], PROBABILITIES, labels, [1]),
    ]
    for found, score_types, true, weights in bad:
        with pytest.raises(SettingError, match="rankings of"):
            Mixture.fit(found, score_types, true, weights)
    with pytest.raises(SettingError):
        Mixture.fit([], [], labels)
    equal = Mixture.from_weights([1, 1])
    for found, score_types in (([top], ["logit"]), ([top, top], ["logit"]), ([top, fewer], PROBABILITIES)):
        with pytest.raises(SettingError, match="rankings of"):
            equal.merge(found, score_types, 5)


def test_nan_is_refused(rng):
    labels = truth(rng)
    top = ranking(rng, labels, 1.0)
    broken = TopK(top.ids, np.where(np.arange(K) == 3, np.nan, top.scores))
    with pytest.raises(DataError, match="holds NaN"):
        Mixture.fit([top, broken], PROBABILITIES, labels)
    with pytest.raises(DataError, match="holds NaN"):
        Mixture.from_weights([1, 1]).merge([top, broken], PROBABILITIES, 5)
