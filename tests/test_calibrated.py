"""Calibrated probabilities, thresholds for a precision and label sets, on scores whose probabilities are known."""

import numpy as np
import pytest
import scipy.sparse as sp
from support.known import Known

from megalabel.errors import DataError, FormatError, SettingError
from megalabel.kernels.sparse.hits import hits
from megalabel.metrics.calibration import increasing, reliability
from megalabel.models.answer import for_tail
from megalabel.models.asking import inverse_propensities
from megalabel.models.calibrated import FILE, Calibration
from megalabel.models.thresholds import precision_table, recall_table
from megalabel.types import TopK

HELD = [str(i) for i in range(1500)]
FRESH = [str(i) for i in range(5000, 7000)]


@pytest.fixture(scope="module")
def model():
    found = Known()
    assert found.calibrate(HELD, found.truth(range(1500)))
    return found


@pytest.fixture(scope="module")
def fresh(model):
    """Probabilities of texts that were not calibrated on, and which of their labels are true."""
    return model.predict(FRESH, 60), model.truth(range(5000, 7000))


def test_probabilities_are_the_shares_of_true_labels(model, fresh):
    top, truth = fresh
    assert top.score_type == "calibrated"
    assert reliability(top, truth, 5).error < 0.02
    raw = model.predict(FRESH, 60, probabilities=False)
    assert raw.score_type == "probability"
    assert reliability(raw, truth, 5).error > 0.1


def test_rankings_stay_and_probabilities_fall(model, fresh):
    top, _ = fresh
    assert np.array_equal(top.ids, model.topk(FRESH, 60).ids)
    assert (np.diff(top.scores, axis=1) <= 0).all()
    few = model.predict(FRESH, 3)
    assert np.array_equal(few.scores, top.scores[:, :3])  # whatever k is


def test_pooled_values_rise_and_keep_their_mean():
    values, weights = np.array([0.1, 0.5, 0.3, 0.3, 0.9]), np.array([1.0, 2.0, 1.0, 1.0, 5.0])
    found, starts = increasing(values, weights)
    assert (np.diff(found) > 0).all()
    assert starts.tolist() == [0, 1, 4]
    assert np.isclose(np.add.reduceat(weights, starts) @ found, values @ weights)


def test_a_precision_holds_on_other_texts_in_most_resamples(fresh):
    top, truth = fresh
    hit = hits(top.ids, truth)[:, :8]
    p, holds = top.scores[:, :8].astype(np.float64), []
    random = np.random.default_rng(0)
    for _ in range(100):
        order = random.permutation(2000)
        a, b = order[:1000], order[1000:]
        thresholds, bounds = precision_table(p[a], hit[a])
        threshold = thresholds[np.flatnonzero(bounds >= 0.4)[-1]]
        holds.append(hit[b][p[b] >= threshold].mean() >= 0.4)
    assert np.mean(holds) >= 0.95


def test_lists_and_given_labels_of_one_text_leave_the_probabilities_of_others(model):
    texts, truth = FRESH[:3], model.truth(range(1500))
    plain = model.predict(texts, 5)
    allowed = model.predict(texts, 5, allow=[None, plain.ids[1].tolist(), None])
    paired = Known().learn_pairs(truth)
    paired.calibration = model.calibration
    sparse = sp.csr_matrix(([1.0], ([1], [3])), shape=(3, 500))
    for found in (allowed, *(paired.predict(texts, 5, given=given) for given in ([[], [3], []], sparse))):
        assert found[0] == plain[0] and found[2] == plain[2]
    alone = model.calibration.probability(model.topk(texts, 5).scores, ranked=False)
    assert np.array_equal(allowed.scores[1], alone[1]) and allowed[1] != plain[1]


@pytest.mark.parametrize("coverage", [0.5, 0.7])
def test_sets_have_the_expected_recall(fresh, coverage):
    top, truth = fresh
    counts = np.diff(truth.indptr)
    hit = hits(top.ids, truth)
    p, reached, random = top.scores.astype(np.float64), [], np.random.default_rng(0)
    for _ in range(20):
        order = random.permutation(2000)
        a, b = order[:1000], order[1000:]
        thresholds, recalls = recall_table(p[a], hit[a], counts[a])
        n = np.count_nonzero(counts[a])
        threshold = thresholds[np.flatnonzero(n * recalls / (n + 1) >= coverage)[0]]
        found = (hit[b] & (p[b] >= threshold)).sum(axis=1)
        reached.append((found / np.maximum(counts[b], 1))[counts[b] > 0].mean())
    assert coverage - 0.01 < np.mean(reached) < coverage + 0.01


def test_a_coverage_that_rankings_do_not_hold_is_not_reachable(model):
    most = model.calibration.reachable
    with pytest.raises(SettingError, match="not reachable") as told:
        model.predict(["0"], coverage=0.95)
    assert f"{most:.3f}" in told.value.found
    sets = model.predict(HELD[:50], coverage=round(most, 2) - 0.05)
    sizes = (sets.ids >= 0).sum(axis=1)
    assert len(set(sizes.tolist())) > 1
    assert sets.score_type == "calibrated"


def test_a_precision_cuts_labels_off_and_min_labels_keeps_them(model):
    sure = model.predict(FRESH, 10, precision=0.4)
    assert 0 < (sure.ids >= 0).sum() < sure.ids.size
    kept = model.predict(FRESH, 10, precision=0.4, min_labels=2)
    assert (kept.ids[:, :2] >= 0).all()
    with pytest.raises(SettingError, match="precision"):
        model.predict(FRESH, precision=0.999)


def test_the_tail_knob_chooses_by_inverse_propensities_and_keeps_order_and_scores(model):
    plain, zero = model.predict(FRESH[:20], 5), model.predict(FRESH[:20], 5, tail=0)
    assert zero == plain
    top = model.predict(FRESH[:20], 60)
    inverse = inverse_propensities(model)
    shares = []
    for tail in (0.3, 1.0):
        found = model.predict(FRESH[:20], 5, tail=tail)
        assert found.score_type == plain.score_type
        gains = for_tail(model, top.ids, top.scores) * inverse[top.ids] ** tail
        for i in range(20):
            best = np.sort(np.argsort(-gains[i], kind="stable")[:5])
            assert found.ids[i].tolist() == top.ids[i][best].tolist()
            assert found.scores[i].tolist() == top.scores[i][best].tolist()
        shares.append(inverse[found.ids].mean())
    assert inverse[plain.ids].mean() < shares[0] < shares[1]


@pytest.mark.parametrize(
    "asked",
    [
        {"precision": 0}, {"precision": 1.0}, {"precision": "high"}, {"coverage": -0.1}, {"coverage": True},
        {"tail": 1.5}, {"tail": -1}, {"tail": True}, {"tail": float("nan")}, {"tail": "most"},
        {"threshold": float("nan")},
        {"threshold": 2.0}, {"min_labels": 1}, {"min_labels": -1, "threshold": 0.1}, {"k": 0},
        {"precision": 0.5, "coverage": 0.5}, {"coverage": 0.5, "k": 5}, {"tail": 0.5, "precision": 0.5},
        {"tail": 0.5, "coverage": 0.5}, {"threshold": "high"}, {"threshold": True},
        {"threshold": 10**400}, {"probabilities": "no"},
        {"min_labels": "1", "threshold": 0.1}, {"min_labels": 1.5, "threshold": 0.1},
        {"min_labels": None, "threshold": 0.1},
    ],
    ids=str,
)  # fmt: skip
def test_values_that_do_not_fit_are_refused(model, asked):
    with pytest.raises(SettingError):
        model.predict(["1"], **asked)


@pytest.mark.parametrize("asked", [{"precision": 0.5}, {"coverage": 0.5}], ids=str)
def test_a_model_that_is_not_calibrated_says_what_to_do(asked):
    with pytest.raises(SettingError, match="megalabel calibrate"):
        Known().predict(["1"], **asked)


def test_labels_to_calibrate_on_are_a_matrix_or_lists_of_names_or_ids():
    by_matrix, by_lists = Known(), Known()
    truth = by_matrix.truth(range(len(HELD)))
    lists = [[by_lists.label_texts[i] if i % 2 else i for i in row.indices.tolist()] for row in truth]
    assert by_matrix.calibrate(HELD, truth) and by_lists.calibrate(HELD, lists)
    found = [one.predict(HELD[:5], 4).scores for one in (by_matrix, by_lists)]
    assert np.array_equal(*found)
    for wrong in (lists[:-1], np.zeros(truth.shape), "names", [["no label"]] * len(HELD)):
        with pytest.raises(DataError):
            Known().calibrate(HELD, wrong)


def test_few_texts_calibrate_nothing():
    model = Known()
    assert not model.calibrate(HELD[:20], model.truth(range(20)))
    assert model.calibration is None
    assert model.predict(["1"], 3).score_type == "probability"


def test_tables_come_back_and_damaged_ones_are_told(model, tmp_path):
    model.calibration.save(tmp_path)
    again = Calibration.load(tmp_path)
    scores = model.topk(FRESH[:5], 60).scores
    assert np.array_equal(again.probability(scores), model.calibration.probability(scores))
    assert (tmp_path / FILE).stat().st_size < 100_000
    with np.load(tmp_path / FILE) as found:
        arrays = dict(found)
    for name, value in (
        ("scores", arrays["scores"][::-1]), ("probabilities", arrays["probabilities"] * 2),
        ("n_texts", np.int64(0)),
        ("ends", arrays["ends"] + 1), ("precisions", arrays["precisions"][1:]),
    ):  # fmt: skip
        np.savez(tmp_path / FILE, **{**arrays, name: value})
        with pytest.raises(FormatError):
            Calibration.load(tmp_path)
    (tmp_path / FILE).write_bytes(b"no zip")
    with pytest.raises(FormatError):
        Calibration.load(tmp_path)
    (tmp_path / FILE).unlink()
    assert Calibration.load(tmp_path) is None


def test_reliability_of_exact_probabilities_is_small_and_of_wrong_ones_what_it_is(rng):
    p = np.sort(rng.uniform(size=(4000, 3)).astype(np.float32), axis=1)[:, ::-1]
    ids = np.tile(np.arange(3), (4000, 1))
    truth = sp.csr_matrix((rng.uniform(size=p.shape) < p).astype(np.float32))
    assert reliability(TopK(ids, p), truth, 3).error < 0.02
    half = np.full_like(p, 0.5)
    assert abs(reliability(TopK(ids, half), truth, 3, bins=1).error - abs(0.5 - p.mean())) < 0.02
