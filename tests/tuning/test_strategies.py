"""The order of trials, on a clock of the test's own: successive halving and one change at a time."""

from __future__ import annotations

import itertools
import math
from types import SimpleNamespace
from typing import Any

import pytest

from megalabel.recipes import get
from megalabel.tuning.candidates import VARIED, Candidate, first_candidate, variations
from megalabel.tuning.history import Result
from megalabel.tuning.strategies import Halving, one_by_one

METRIC = "nDCG@5"


class Imagined:
    """Trials whose scores and times follow from functions, with a clock that they alone move."""

    says_needed = True  # whether a training that is stopped has shown its speed

    def __init__(self, seconds: float, score: Any, cost: Any) -> None:
        self.history = SimpleNamespace(elapsed=0.0, seconds=seconds, results=[])
        self.setting = SimpleNamespace(metric=METRIC)
        self.score, self.cost, self.kept = score, cost, []

    def run(self, candidate: Candidate, *, epochs: int | None = None, limit: float | None = None) -> Result:
        seconds = self.cost(candidate, epochs)
        finished = limit is None or seconds <= 1.25 * limit
        seconds = seconds if finished else 0.02 * seconds
        metrics = {METRIC: self.score(candidate, epochs)} if finished else {}
        result = Result(
            len(self.history.results), candidate.recipe, dict(candidate.values), epochs,
            "finished" if finished else "too slow: it would take longer", metrics, seconds,
            facts={} if finished or not self.says_needed else {"needed": self.cost(candidate, epochs)},
        )  # fmt: skip
        self.history.results.append(result)
        self.history.elapsed += seconds
        return result

    def keep(self, results: Any) -> None:
        self.kept.append([result.number for result in results])


def renee(**values: Any) -> Candidate:
    return first_candidate(get("renee"), {"encoder": "bag", **values})


def test_halving_trains_the_best_candidate_for_all_epochs() -> None:
    def score(candidate: Candidate, epochs: int) -> float:
        return 50 + epochs + (10 if candidate.values["dropout"] == 0.3 else 0)

    trials = Imagined(1000, score, lambda candidate, epochs: 5.0 * epochs)
    best = Halving(trials, [renee()], (), 0).run(1000)  # type: ignore[arg-type]
    assert best is not None and best.epochs == 10 and best.values["dropout"] == 0.3
    assert trials.history.elapsed <= 1000


@pytest.mark.parametrize("per_epoch", [0.5, 3, 20, 90, 150, 290])
@pytest.mark.parametrize("seconds", [100, 300, 1000])
def test_halving_ends_in_time_and_finds_a_model_whenever_one_epoch_fits(seconds: float, per_epoch: float) -> None:
    trials = Imagined(
        seconds, lambda candidate, epochs: float(epochs), lambda candidate, epochs: per_epoch * epochs
    )
    best = Halving(trials, [renee(epochs=9), renee(epochs=9, dropout=0.1)], (), 0).run(seconds)  # type: ignore[arg-type]
    assert trials.history.elapsed <= 1.1 * seconds
    assert (best is not None) == (per_epoch <= 1.25 * seconds)
    if best is not None and 4 * per_epoch <= seconds:
        affordable = min(9, math.floor(0.5 * seconds / per_epoch))
        assert best.epochs is not None and best.epochs >= affordable - 1


def test_halving_gives_up_where_no_candidate_is_fast_enough() -> None:
    trials = Imagined(60, lambda candidate, epochs: 1.0, lambda candidate, epochs: 500.0 * epochs)
    assert Halving(trials, [renee(), renee(dropout=0.1)], (), 0).run(60) is None  # type: ignore[arg-type]
    assert len(trials.history.results) == 2


def test_a_candidate_worse_than_the_best_one_after_as_many_epochs_is_not_trained_further() -> None:
    def score(candidate: Candidate, epochs: int) -> float:
        return epochs - (0 if candidate == renee() else 20)

    trials = Imagined(3000, score, lambda candidate, epochs: 2.0 * epochs)
    Halving(trials, [renee()], (), 0).run(3000)  # type: ignore[arg-type]
    longer = [r.candidate for r in trials.history.results if r.epochs == 10]
    assert longer == [renee()]


def test_a_candidate_is_not_begun_where_trials_of_its_encoder_took_longer() -> None:
    """The best one, of a slow encoder, is varied as long as there is time for such trials."""
    starts = [
        first_candidate(get("renee"), {"encoder": "bag", "epochs": 1}),
        first_candidate(get("renee"), {"encoder": "small", "epochs": 1}),
    ]
    trials = Imagined(
        300, lambda candidate, epochs: 50.0 + (candidate.values["encoder"] == "small"),
        lambda candidate, epochs: 100.0 if candidate.values["encoder"] == "small" else 1.0,
    )  # fmt: skip
    Halving(trials, starts, ("epochs",), 0).run(300)
    assert all(result.finished for result in trials.history.results)
    assert trials.history.elapsed <= 300


def test_no_candidate_is_begun_that_cannot_be_trained_for_as_long_as_the_best_one() -> None:
    starts = [first_candidate(get("renee"), {"encoder": "bag", "epochs": 3})]
    trials = Imagined(560, lambda candidate, epochs: float(epochs), lambda candidate, epochs: 100.0 * epochs)
    best = Halving(trials, starts, ("epochs",), 0).run(560)
    assert best is not None and best.epochs == 3
    assert [result.epochs for result in trials.history.results] == [1, 3]


def test_a_slow_encoder_is_stopped_where_one_epoch_leaves_no_time_for_more() -> None:
    starts = [
        first_candidate(get("renee"), {"encoder": encoder, "epochs": 3}) for encoder in ("bag", "minilm", "small")
    ]
    costs = {"bag": 10.0, "minilm": 500.0, "small": 20.0}
    trials = Imagined(
        900,
        lambda candidate, epochs: epochs + costs[candidate.values["encoder"]],
        lambda candidate, epochs: epochs * costs[candidate.values["encoder"]],
    )
    best = Halving(trials, starts, ("epochs",), 0).run(900)
    bag, minilm, small, *_ = trials.history.results
    assert bag.finished and small.finished and minilm.status.startswith("too slow")
    assert best is not None and best.epochs == 3 and best.values["encoder"] == "small"


@pytest.mark.parametrize(("says_needed", "epochs"), [(True, [2, 3]), (False, [2, 1, 2])])
def test_a_candidate_that_is_too_slow_for_two_rungs_gets_all_the_time_at_once(
    says_needed: bool, epochs: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two of ten epochs would take half of the time, so that more could not follow."""
    monkeypatch.setattr(Imagined, "says_needed", says_needed)
    starts = [first_candidate(get("renee"), {"encoder": "bag", "epochs": 10})]
    trials = Imagined(465, lambda candidate, epochs: float(epochs), lambda candidate, epochs: 119.0 * epochs)
    best = Halving(trials, starts, ("epochs",), 0).run(465)
    assert best is not None
    assert [result.epochs for result in trials.history.results] == epochs
    assert trials.history.elapsed <= 465


def test_time_is_left_for_what_follows() -> None:
    starts = [first_candidate(get("renee"), {"encoder": "bag", "epochs": 5})]
    cost = {"score": lambda candidate, epochs: float(epochs), "cost": lambda candidate, epochs: 100.0 * epochs}
    best = Halving(trials := Imagined(700, **cost), starts, ("epochs",), 0, lambda result: 150.0).run(700)
    assert best is not None and best.epochs == 4  # 100 + 400 of 550 s, and room
    assert trials.history.elapsed <= 550


def test_halving_is_deterministic() -> None:
    def order() -> list[tuple[str, int | None]]:
        trials = Imagined(400, lambda c, e: hash(c.key) % 100, lambda c, e: 1.0 * e)
        Halving(trials, [renee()], (), 3).run(400)  # type: ignore[arg-type]
        return [(r.candidate.key, r.epochs) for r in trials.history.results]

    assert order() == order()


def test_one_by_one_keeps_each_change_that_helps() -> None:
    wanted = {"trees": 5, "c": 2.0, "beam_size": 20}

    def score(candidate: Candidate, epochs: None) -> float:
        return float(sum(candidate.values.get(name) == value for name, value in wanted.items()))

    trials = Imagined(10_000, score, lambda candidate, epochs: 1.0)
    best = one_by_one(trials, first_candidate(get("linear"), {}), (), 0, 500)  # type: ignore[arg-type]
    assert best is not None and {name: best.values.get(name) for name in wanted} == wanted
    assert trials.history.elapsed <= 500
    assert len({r.candidate.key for r in trials.history.results}) == len(trials.history.results)


def test_one_by_one_leaves_time_for_the_last_training() -> None:
    trials = Imagined(100, lambda candidate, epochs: 1.0, lambda candidate, epochs: 9.0)
    one_by_one(trials, first_candidate(get("linear"), {}), (), 0, 100, reserve=1.0)  # type: ignore[arg-type]
    assert 70 <= trials.history.elapsed <= 91


def test_variations_differ_and_are_valid_and_leave_fixed_options_alone() -> None:
    for name, fixed in (
        ("renee", {"encoder": "bag", "dropout": 0.35}),
        ("linear", {"trees": 2}),
        ("cascadexml", {}),
    ):
        recipe = get(name)
        start = first_candidate(recipe, fixed)
        found = list(itertools.islice(variations(recipe, start, fixed, 0), 40))
        assert len({c.key for c in (start, *found)}) == len(found) + 1 >= 20
        for candidate in found:
            recipe.options.from_values(candidate.values)
            assert {n: candidate.values[n] for n in fixed} == fixed
        assert found == list(itertools.islice(variations(recipe, start, fixed, 0), 40))
        assert found != list(itertools.islice(variations(recipe, start, fixed, 1), 40))


def test_options_of_an_encoder_are_varied_for_this_encoder_only() -> None:
    recipe = get("renee")
    start = first_candidate(recipe, {"encoder": "minilm"})
    changed = [c for c in itertools.islice(variations(recipe, start, (), 0), 30)]
    assert all("tokenizer" not in c.values and "bigram_min_count" not in c.values for c in changed)


def test_every_varied_option_is_declared_by_a_recipe() -> None:
    declared = {
        n for name in ("renee", "cascadexml", "spartex", "linear", "hybrid") for n in get(name).options.declared
    }
    assert set(VARIED) <= declared
