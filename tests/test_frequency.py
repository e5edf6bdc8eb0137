"""The correction of probabilities for rare labels: it finds what was planted, and the tail knob alone reads it."""

import numpy as np
import pytest
import scipy.sparse as sp
from support.known import DEPTH, Known

from megalabel.errors import FormatError, SettingError
from megalabel.metrics.ranking import measure
from megalabel.models.answer import for_tail
from megalabel.models.asking import inverse_propensities
from megalabel.models.calibrated import FEWEST, FILE, Calibration
from megalabel.models.frequency import FIRST, FrequencyCorrection
from megalabel.models.tail import TAILS, balanced_tail
from megalabel.models.trained_on import TrainedOn
from megalabel.types import TopK

TEXTS = [str(i) for i in range(1500)]


def log_odds(p):
    return np.log(p) - np.log1p(-p)


def test_planted_offsets_and_slopes_are_found(rng):
    p = rng.uniform(0.01, 0.99, 40_000)
    counts = rng.choice([1, 4, 1000], len(p))
    z = log_odds(p)
    wanted = np.select([counts == 1, counts == 4], [z + 1.5, 0.5 * z - 1], z)
    hit = rng.random(len(p)) < 1 / (1 + np.exp(-wanted))
    correction = FrequencyCorrection.fit(p, hit, counts)
    np.testing.assert_allclose(log_odds(correction.corrected(p, counts)), wanted, atol=0.35)
    groups = np.searchsorted(FIRST, [1, 4, 1000], side="right") - 1
    np.testing.assert_allclose(correction.offsets[groups], [1.5, -1, 0], atol=0.1)
    np.testing.assert_allclose(correction.slopes[groups], [1, 0.5, 1], atol=0.1)


def test_groups_without_labels_stay_and_few_labels_move_little(rng):
    correction = FrequencyCorrection.fit(np.full(3, 0.5), np.ones(3, bool), np.array([2, 2, 2]))
    moved = np.flatnonzero(correction.offsets)
    assert moved.tolist() == [FIRST.index(2)]
    assert 0 < correction.offsets[moved[0]] < 0.5
    assert (correction.slopes[np.arange(len(FIRST)) != moved[0]] == 1).all()
    p = rng.random(50)
    np.testing.assert_allclose(correction.corrected(p, np.full(50, 7)), p, atol=1e-6)
    kept = correction.corrected(np.array([-np.inf, 0.0]), np.array([2, 2]))
    assert kept.tolist() == [-np.inf, 0.0]


def test_steep_slopes_overflow_nothing():
    ones = np.ones(len(FIRST))
    p, counts = np.array([-np.inf, 1e-300, 1e-12, 0.5, 1.0]), np.ones(5, np.int64)
    for slope in (60.0, -60.0):
        found = FrequencyCorrection(np.asarray(FIRST, np.int64), 0 * ones, slope * ones).corrected(p, counts)
        assert found[0] == -np.inf
        np.testing.assert_allclose(found[1:], [0, 0, 0.5, 1] if slope > 0 else [1, 1, 0.5, 0], atol=1e-9)


class Cautious(Known):
    """Labels of one training text are true twice as often as those of the same score."""

    def truth(self, numbers) -> sp.csr_matrix:
        rare, found = self.trained_on.counts == 1, super().truth(numbers).tolil()
        for at, number in enumerate(numbers):
            random = np.random.default_rng([self.seed, number, 2])
            ids, scores = self.row(number)
            found[at, ids[rare[ids] & (random.random(DEPTH) < scores**2)]] = 1
        return found.tocsr()


def test_the_tail_knob_finds_more_of_the_rare_labels_with_it_and_answers_without_it_stay():
    model = Cautious(2000)
    held, other = model.truth(range(1500)), [str(i) for i in range(5000, 6000)]
    known = model.trained_on
    model.trained_on = None
    assert model.calibrate(TEXTS, held)
    assert model.calibration.by_frequency is None
    plain, tables = model.predict(other, 5), model.calibration
    model.trained_on = known
    assert model.calibrate(TEXTS, held)
    assert model.predict(other, 5) == plain
    truth, inverse, found = model.truth(range(5000, 6000)).toarray() > 0, inverse_propensities(model), []
    for calibration in (tables, model.calibration):
        model.calibration = calibration
        ids = model.predict(other, 5, tail=1).ids
        found.append((np.take_along_axis(truth, ids, 1) * inverse[ids]).sum())
    assert found[1] > 1.02 * found[0]


def test_auto_is_the_tail_with_the_largest_sum_of_both_metrics_on_the_texts_that_calibrated():
    model = Cautious(2000)
    held, counts = model.truth(range(1500)), model.trained_on.counts
    with pytest.raises(SettingError, match="auto"):
        model.predict(TEXTS[:3], 5, tail="auto")
    assert model.calibrate(TEXTS, held)
    inverse, sums = inverse_propensities(model), []
    for tail in TAILS:
        top = model.topk(TEXTS, 5) if not tail else model.predict(TEXTS, 5, tail=tail)
        found = measure(TopK(top.ids, top.scores), held, k=5, inverse_propensity=inverse)
        sums.append(found["P@5"] + found["PSP@5"])
    ids, scores = model.topk(TEXTS, 60).numpy()
    p = for_tail(model, ids, model.calibration.probability(scores))
    best = balanced_tail(ids, p, held, inverse)
    assert sums[TAILS.index(best)] == max(sums)
    chosen = model.calibration.tail  # by probabilities that the other half of the texts gave
    assert abs(sums[TAILS.index(chosen)] - max(sums)) < 0.2 * (max(sums) - sums[0])
    asked = model.predict(TEXTS[:50], 5, tail="auto")
    assert asked == model.predict(TEXTS[:50], 5, tail=chosen)
    assert asked != model.predict(TEXTS[:50], 5)
    with pytest.raises(SettingError, match="precision"):
        model.predict(TEXTS[:3], precision=0.2, tail="auto")
    model.trained_on = TrainedOn("known", FEWEST - 1, counts)
    assert model.calibrate(TEXTS, held)
    assert model.calibration.tail is None


def test_held_out_texts_are_subtracted_from_the_counts():
    model = Known()
    held = model.truth(range(1500))
    own = np.bincount(held.indices, minlength=500)
    rest = model.trained_on.counts
    model.calibrate(TEXTS, held)
    direct = model.calibration.by_frequency
    model.trained_on = TrainedOn("known", 2500, rest + own)
    model.calibrate(TEXTS, held, held_out=True)
    assert np.array_equal(model.calibration.by_frequency.offsets, direct.offsets)
    model.calibrate(TEXTS, held)
    assert not np.array_equal(model.calibration.by_frequency.offsets, direct.offsets)


def test_tables_come_back_older_ones_have_none_and_damaged_ones_are_told(tmp_path):
    model = Known()
    model.calibrate(TEXTS, model.truth(range(1500)))
    model.calibration.save(tmp_path)
    found = model.topk(TEXTS[:9], 40)
    p = np.square(found.scores)
    before = for_tail(model, found.ids, p)
    model.calibration = Calibration.load(tmp_path)
    assert np.array_equal(for_tail(model, found.ids, p), before)
    with np.load(tmp_path / FILE) as read:
        arrays = dict(read)
    assert model.calibration.tail == arrays["tail"]
    new = ("frequencies", "offsets", "slopes", "tail")
    np.savez(tmp_path / FILE, **{name: value for name, value in arrays.items() if name not in new})
    model.calibration = Calibration.load(tmp_path)
    assert np.array_equal(for_tail(model, found.ids, p), p)
    assert model.calibration.tail is None
    for changed in (
        {"offsets": arrays["offsets"][1:]}, {"slopes": arrays["slopes"] * np.nan},
        {"frequencies": arrays["frequencies"][::-1]}, {"frequencies": arrays["frequencies"] + 1},
        {"tail": np.float64(1.1)}, {"tail": np.float64("nan")}, {"tail": np.ones(2)},
    ):  # fmt: skip
        np.savez(tmp_path / FILE, **{**arrays, **changed})
        with pytest.raises(FormatError):
            Calibration.load(tmp_path)
    del arrays["slopes"]
    np.savez(tmp_path / FILE, **arrays)
    with pytest.raises(FormatError):
        Calibration.load(tmp_path)
